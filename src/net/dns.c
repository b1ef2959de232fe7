/* Reads answers of DNS; see dns.h. */
#include "net/dns.h"

#include "base/fail.h"

#include <string.h>

enum { HEADER = 12, ALIASES_MAX = 16, POINTERS_MAX = 64, LABEL_MAX = 63 };
enum { RCODE_NONE = 0, RCODE_NAME = 3 };

struct reader {
    const uint8_t *base;
    size_t len, at;
    bool bad;
};

struct record {
    char owner[DNS_NAME_MAX + 1];
    uint16_t type, class;
    uint32_t ttl;
    size_t data, data_len;
};

static uint32_t number(struct reader *r, unsigned bytes)
{
    uint32_t n = 0;

    if (r->bad || r->len - r->at < bytes) {
        r->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        n = n << 8 | r->base[r->at++];
    return n;
}

static char lower(uint8_t c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Labels with dots between them, in lower case.  A label that has a dot, or is not of
 * text, is no name of a host. */
static bool label(struct reader *r, unsigned n, char *out, size_t *used)
{
    if (r->len - r->at < n || *used + n + 1 > DNS_NAME_MAX)
        return false;
    if (*used > 0)
        out[(*used)++] = '.';
    for (unsigned i = 0; i < n; i++) {
        uint8_t c = r->base[r->at++];
        if (c <= ' ' || c == '.' || c >= 0x7f)
            return false;
        out[(*used)++] = lower(c);
    }
    return true;
}

/* Pointers lead backwards only, so that it ends. */
static void name(struct reader *r, char out[DNS_NAME_MAX + 1])
{
    size_t used = 0, after = 0, before = r->at;

    for (unsigned pointers = 0; !r->bad;) {
        uint32_t n = number(r, 1);
        if (r->bad || n == 0)
            break;
        if (n >= 0xc0) {
            size_t to = (n & 0x3f) << 8 | number(r, 1);
            after = after ? after : r->at;
            r->bad = r->bad || to >= before || ++pointers > POINTERS_MAX;
            r->at = before = to;
        } else if (n > LABEL_MAX || !label(r, n, out, &used)) {
            r->bad = true;
        }
    }
    out[used] = '\0';
    if (after)
        r->at = after;
}

static void record_read(struct reader *r, struct record *rec)
{
    name(r, rec->owner);
    rec->type = (uint16_t)number(r, 2);
    rec->class = (uint16_t)number(r, 2);
    rec->ttl = number(r, 4);
    if (rec->ttl > INT32_MAX) /* RFC 2181, 8 */
        rec->ttl = 0;
    rec->data_len = number(r, 2);
    rec->data = r->at;
    if (r->bad || r->len - r->at < rec->data_len)
        r->bad = true;
    else
        r->at += rec->data_len;
}

static struct reader data_of(const struct reader *r, const struct record *rec)
{
    return (struct reader){.base = r->base, .len = rec->data + rec->data_len, .at = rec->data};
}

/* Into the list, or in place of one of a later priority. */
static void keep(struct dns_answer *a, const struct dns_record *record)
{
    struct dns_record *to = &a->list[0];

    if (a->count < DNS_RECORDS_MAX) {
        a->list[a->count++] = *record;
        return;
    }
    a->left_out++;
    for (unsigned i = 1; i < a->count; i++)
        if (a->list[i].priority > to->priority)
            to = &a->list[i];
    if (record->priority < to->priority)
        *to = *record;
}

static bool take(struct dns_answer *a, const struct reader *r, const struct record *rec)
{
    struct reader data = data_of(r, rec);
    size_t ip = rec->type == DNS_A ? 4 : 16;
    struct dns_record to = {0};

    if (rec->type == DNS_SRV) {
        to.priority = (uint16_t)number(&data, 2);
        to.weight = (uint16_t)number(&data, 2);
        to.port = (uint16_t)number(&data, 2);
        name(&data, to.target);
    } else if (rec->data_len == ip) {
        to.ip.family = ip == 4 ? ADDRESS_IPV4 : ADDRESS_IPV6;
        memcpy(to.ip.ip, r->base + rec->data, ip);
    } else {
        return false;
    }
    if (!data.bad)
        keep(a, &to);
    return !data.bad;
}

/* The records of one name, and the name that it is an alias of, if it is. */
static bool records_of(struct dns_answer *a, struct reader r, unsigned records, uint16_t type,
                       char owner[DNS_NAME_MAX + 1], bool *alias)
{
    struct record rec;
    char next[DNS_NAME_MAX + 1];

    *alias = false;
    for (unsigned i = 0; i < records; i++) {
        record_read(&r, &rec);
        if (r.bad)
            return false;
        if (rec.class != 1 || strcmp(rec.owner, owner) != 0)
            continue;
        if (rec.type != type && rec.type != DNS_CNAME)
            continue;
        if (rec.ttl < a->ttl)
            a->ttl = rec.ttl;
        if (rec.type == DNS_CNAME && type != DNS_CNAME) {
            struct reader data = data_of(&r, &rec);
            name(&data, next);
            if (data.bad)
                return false;
            *alias = true;
        } else if (!take(a, &r, &rec)) {
            return false;
        }
    }
    if (*alias)
        memcpy(owner, next, sizeof next);
    return true;
}

/* For how long there is nothing: the lesser of the zone's record's own and its last number. */
static uint32_t nothing_ttl(struct reader r, unsigned answers, unsigned authorities)
{
    struct record rec;

    for (unsigned i = 0; i < answers + authorities && !r.bad; i++) {
        record_read(&r, &rec);
        if (r.bad || i < answers || rec.type != DNS_SOA || rec.data_len < 20)
            continue;
        struct reader data = data_of(&r, &rec);
        data.at = data.len - 4;
        uint32_t minimum = number(&data, 4);
        return minimum < rec.ttl ? minimum : rec.ttl;
    }
    return 0;
}

int dns_read(struct dns_answer *a, const uint8_t *message, size_t len, uint16_t type)
{
    struct reader r = {.base = message, .len = len};
    char owner[DNS_NAME_MAX + 1];
    bool alias = true;

    a->count = a->left_out = 0;
    a->ttl = UINT32_MAX;
    number(&r, 2);
    uint32_t flags = number(&r, 2), questions = number(&r, 2), answers = number(&r, 2);
    uint32_t authorities = number(&r, 2), rcode = flags & 0xf;
    number(&r, 2);
    name(&r, owner);
    number(&r, 4);
    if (r.bad || !(flags & 0x8000) || questions != 1 ||
        (rcode != RCODE_NONE && rcode != RCODE_NAME))
        return FAIL_BAD;
    for (unsigned n = 0; n < ALIASES_MAX && alias && a->count == 0; n++)
        if (!records_of(a, r, answers, type, owner, &alias))
            return FAIL_BAD;
    if (a->count > 0)
        return 0;
    a->ttl = nothing_ttl(r, answers, authorities);
    return FAIL_NOT_FOUND;
}
