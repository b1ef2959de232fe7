/* A link on which nothing is said: the connection alone, and TLS, is what its
 * leg wanted to know of. */
#include "gate/link.h"

struct bare_link {
    struct link base;
    struct leg *leg; /* NULL at the end */
};

static struct bare_link *bare_of(struct link *l)
{
    return container_of(l, struct bare_link, base);
}

static void bare_attach(struct link *base, struct leg *leg)
{
    bare_of(base)->leg = leg;
}

static enum link_left bare_release(struct link *base, struct leg *leg)
{
    (void)leg;
    bare_of(base)->leg = NULL;
    return LINK_SPOILT;
}

static void bare_connected(struct link *base)
{
    struct leg *leg = bare_of(base)->leg;

    leg->x->times.connected = io_now(link_io(base));
    leg_content_done(leg);
}

static void bare_work(struct link *base)
{
    (void)base;
}

static void bare_fail(struct link *base, enum cause cause, bool fresh)
{
    struct leg *leg = bare_of(base)->leg;

    (void)fresh;
    if (leg)
        leg_fail(leg, cause);
}

static uint32_t bare_room(struct link *base, bool *piped)
{
    (void)base;
    (void)piped;
    return 0;
}

static uint64_t bare_deadline(struct link *base)
{
    (void)base;
    return TIME_NEVER;
}

static void bare_timed_out(struct link *base)
{
    (void)base;
}

const struct link_protocol link_bare = {
    .size = sizeof(struct bare_link),
    .number = LINK_BARE,
    .attach = bare_attach,
    .release = bare_release,
    .connected = bare_connected,
    .work = bare_work,
    .fail = bare_fail,
    .room = bare_room,
    .deadline = bare_deadline,
    .timed_out = bare_timed_out,
};
