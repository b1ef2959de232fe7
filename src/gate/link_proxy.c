/* The PROXY header to origins; see link_proxy.h. */
#include "gate/link_proxy.h"

#include "base/mem.h"

/* An exchange that no client began is nobody's: the header says just that. */
static struct proxy_header header_of(const struct exchange *x)
{
    struct proxy_header h = {.local = !x->carrier->local};

    if (h.local)
        return h;
    h.source = x->client;
    x->carrier->local(x, &h.destination);
    return h;
}

bool link_proxy_admit(struct link *l, const struct leg *leg)
{
    enum proxy_versions version = leg->upstream->proxy_protocol;
    char text[PROXY_WRITTEN_MAX], *copy;

    if (version == PROXY_OFF)
        return true;
    struct proxy_header h = header_of(leg->x);
    size_t len = proxy_write(&h, version, text);
    if (!(copy = mem_alloc(len)))
        return false;
    memcpy(copy, text, len);
    l->introduction = (struct span){copy, len};
    l->single = true;
    return true;
}

bool link_proxy_say(struct link *l)
{
    if (l->introduction.len == 0)
        return true;
    bool said = wire_say(&l->wire, l->introduction);
    link_proxy_end(l);
    return said;
}

void link_proxy_end(struct link *l)
{
    mem_free((char *)(uintptr_t)l->introduction.ptr);
    l->introduction = (struct span){0};
}
