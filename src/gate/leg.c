/* One exchange with an origin; see leg.h. */
#include "gate/leg.h"

#include "gate/link.h"

static void leg_refuse(struct leg *leg, enum cause cause)
{
    leg->state = LEG_FAILED;
    leg->cause = cause;
}

/* Why there is no server to try. */
static enum cause leg_nobody(const struct leg *leg)
{
    const struct upstream_conf *conf = leg->upstream;
    bool resolved = false;

    for (unsigned i = 0; i < conf->server_count; i++)
        if (conf->servers[i].address_count > 0)
            resolved = true;
    return resolved ? CAUSE_upstream_none_healthy : CAUSE_upstream_unresolved;
}

void leg_open(struct leg *leg)
{
    struct exchange *x = leg->x;
    const struct upstream_conf *conf = leg->upstream;
    const struct pool_view *view = x->generation->pools[conf->index];
    int i = pool_choose(view, conf, leg->tried);

    if (i < 0) /* all were tried: one more time from the beginning */
        i = pool_choose(view, conf, 0);
    if (i < 0) {
        leg_refuse(leg, leg_nobody(leg));
        return;
    }
    const struct server_entry *entry = &conf->servers[i];
    struct pool_server *server = view->servers[i];
    if (i < LEG_TRIED_MAX)
        leg->tried |= UINT64_C(1) << i;
    x->upstream = conf->name;
    x->server = entry->text;
    x->tries++;
    leg->state = LEG_WAITING;
    struct link *idle = pool_idle(server);
    if (idle) {
        link_serve(idle, leg);
        return;
    }
    const struct address *to = &entry->addresses[server->next_address++ % entry->address_count];
    if (!link_new(server, to, leg))
        leg_refuse(leg, CAUSE_out_of_memory);
}

void leg_close(struct leg *leg)
{
    if (leg->link)
        link_release(leg->link);
}

void leg_again(struct leg *leg)
{
    leg_close(leg);
    leg->state = LEG_NEW;
    leg->cause = CAUSE_NONE;
    leg->fresh_failed = leg->reused = leg->response_begun = leg->cut = false;
}

/* The request had no content, so its flow has ended: it begins anew, as the
 * client's half of the tunnel. */
void leg_tunnel(struct leg *leg)
{
    struct exchange *x = leg->x;
    struct owner *consumer = x->request_content.consumer;

    flow_init(&x->request_content, x->request_content.pool, x->request_content.limit);
    x->request_content.consumer = consumer;
    x->request_content.producer = x->owner;
    x->tunnel = true;
    owner_wake(consumer);
    owner_wake(x->owner);
}
