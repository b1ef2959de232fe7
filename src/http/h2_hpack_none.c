/* HPACK where headgate was built without HTTP/2: there is none. */
#include "http/h2_hpack.h"

#include "base/fail.h"

bool hpack_available(void)
{
    return false;
}

int hpack_init(struct hpack *h)
{
    *h = (struct hpack){0};
    return FAIL_UNSUPPORTED;
}

void hpack_free(struct hpack *h)
{
    (void)h;
}

enum hpack_step hpack_inflate(struct hpack *h, struct span *in, bool last, struct span *name,
                              struct span *value)
{
    (void)h, (void)in, (void)last, (void)name, (void)value;
    return HPACK_BAD;
}

int hpack_resize(struct hpack *h, uint32_t size)
{
    (void)h, (void)size;
    return FAIL_UNSUPPORTED;
}

size_t hpack_bound(const struct fields *first, const struct fields *fields)
{
    (void)first, (void)fields;
    return 0;
}

size_t hpack_deflate(struct hpack *h, char *at, size_t room, const struct fields *first,
                     const struct fields *fields)
{
    (void)h, (void)at, (void)room, (void)first, (void)fields;
    return 0;
}
