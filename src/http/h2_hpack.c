/* HPACK by nghttp2. */
#include "http/h2_hpack.h"

#include "base/fail.h"
#include "base/mem.h"

#include <nghttp2/nghttp2.h>

enum {
    TABLE_MAX = 4096, /* bytes a decoder of the peer's may make us keep; ours keeps as much */
    FIELDS_INLINE = 64,
    NAMES_INLINE = 1024, /* of names that have to be put in lower case */
};

static void *take(size_t size, void *user)
{
    (void)user;
    return mem_alloc(size);
}

static void *take_cleared(size_t count, size_t size, void *user)
{
    (void)user;
    return size > 0 && count > SIZE_MAX / size ? NULL : mem_zalloc(count * size);
}

static void *take_more(void *old, size_t size, void *user)
{
    (void)user;
    return mem_resize(old, size);
}

static void give_back(void *old, void *user)
{
    (void)user;
    mem_free(old);
}

/* Not const only because the library's prototype is not. */
static nghttp2_mem memory = {NULL, take, give_back, take_cleared, take_more};

bool hpack_available(void)
{
    return true;
}

int hpack_init(struct hpack *h)
{
    nghttp2_hd_inflater *in = NULL;
    nghttp2_hd_deflater *out = NULL;

    *h = (struct hpack){0};
    if (nghttp2_hd_inflate_new2(&in, &memory) != 0)
        return FAIL_MEMORY;
    h->inflater = in;
    if (nghttp2_hd_deflate_new2(&out, TABLE_MAX, &memory) != 0)
        return FAIL_MEMORY;
    h->deflater = out;
    return 0;
}

void hpack_free(struct hpack *h)
{
    if (h->inflater)
        nghttp2_hd_inflate_del(h->inflater);
    if (h->deflater)
        nghttp2_hd_deflate_del(h->deflater);
    *h = (struct hpack){0};
}

enum hpack_step hpack_inflate(struct hpack *h, struct span *in, bool last, struct span *name,
                              struct span *value)
{
    nghttp2_nv nv;
    int flags = 0;
    ssize_t used =
        nghttp2_hd_inflate_hd2(h->inflater, &nv, &flags, (const uint8_t *)in->ptr, in->len, last);

    if (used < 0)
        return HPACK_BAD;
    *in = span_after(*in, (size_t)used);
    if (flags & NGHTTP2_HD_INFLATE_EMIT) {
        *name = (struct span){(const char *)nv.name, nv.namelen};
        *value = (struct span){(const char *)nv.value, nv.valuelen};
        return HPACK_FIELD;
    }
    if (flags & NGHTTP2_HD_INFLATE_FINAL) {
        nghttp2_hd_inflate_end_headers(h->inflater);
        return HPACK_END;
    }
    return HPACK_MORE;
}

int hpack_resize(struct hpack *h, uint32_t size)
{
    int err = nghttp2_hd_deflate_change_table_size(h->deflater, size);

    return err ? FAIL_MEMORY : 0;
}

/* --- writing ------------------------------------------------------------------ */

/* nghttp2_hd_deflate_bound()'s arithmetic, on our fields: an index or length of at
 * most six bytes twice a field, and two changes of the table's size. */
static size_t bound_of(const struct fields *f)
{
    size_t bytes = 12;

    for (uint32_t i = 0; f && i < f->count; i++)
        bytes += 12 + f->list[i].name.len + f->list[i].value.len;
    return bytes;
}

size_t hpack_bound(const struct fields *first, const struct fields *fields)
{
    return bound_of(first) + bound_of(fields);
}

/* Of ASCII: adding brings the top bit of bytes from 'A' on, and of those behind 'Z'. */
static bool eight_have_capital(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t bytes;

    memcpy(&bytes, at, sizeof bytes);
    return (bytes + ones * (0x80 - 'A')) & ~(bytes + ones * (0x80 - 'Z' - 1)) & (ones << 7);
}

static bool is_low(struct span name)
{
    size_t i = 0;

    for (; i + 8 <= name.len; i += 8)
        if (eight_have_capital(name.ptr + i))
            return false;
    for (; i < name.len; i++)
        if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
            return false;
    return true;
}

static nghttp2_nv nv_of(struct span name, struct span value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.ptr,
        .namelen = name.len,
        .value = (uint8_t *)(uintptr_t)value.ptr,
        .valuelen = value.len,
    };
}

/* `names` has room for all names. */
static size_t nvs_of(nghttp2_nv *out, const struct fields *f, char *names)
{
    for (uint32_t i = 0; i < f->count; i++) {
        struct span name = f->list[i].name;
        if (!is_low(name)) {
            for (size_t n = 0; n < name.len; n++)
                names[n] = ascii_lower(name.ptr[n]);
            name.ptr = names;
            names += name.len;
        }
        out[i] = nv_of(name, f->list[i].value);
    }
    return f->count;
}

static size_t names_bytes(const struct fields *f)
{
    size_t bytes = 0;

    for (uint32_t i = 0; f && i < f->count; i++)
        bytes += f->list[i].name.len;
    return bytes;
}

size_t hpack_deflate(struct hpack *h, char *at, size_t room, const struct fields *first,
                     const struct fields *fields)
{
    nghttp2_nv few[FIELDS_INLINE], *nv = few;
    char some[NAMES_INLINE], *names = some;
    size_t count = (first ? first->count : 0) + (fields ? fields->count : 0), n = 0;
    size_t bytes = names_bytes(first) + names_bytes(fields);
    ssize_t wrote = 0;

    if (count > COUNT_OF(few))
        nv = mem_alloc(count * sizeof *nv);
    if (bytes > sizeof some)
        names = mem_alloc(bytes);
    if (nv && names) {
        if (first)
            n += nvs_of(nv, first, names);
        if (fields)
            n += nvs_of(nv + n, fields, names);
        wrote = nghttp2_hd_deflate_hd(h->deflater, (uint8_t *)at, room, nv, n);
    }
    if (nv != few)
        mem_free(nv);
    if (names != some)
        mem_free(names);
    return wrote > 0 ? (size_t)wrote : 0;
}
