/* Encoding, decoding and the checksum of the state file. */
#include "modules/1mrc/state.h"

#include "base/fail.h"
#include "base/mem.h"

#include <assert.h>

enum {
    VERSION = 1,
    FLAG_ESTIMATED = 1,
    HEAD_LEN = 8 + 4 + 4 + 16 + 8 + 8 + 4 * EXACT_DIGITS + 8,
    CRC_LEN = 8,
    HASH_LEN = 16,
    PIECE = 1024 * HASH_LEN, /* bytes put at a time */
};

static const char magic[8] = {'h', 'g', '1', 'm', 'r', 'c', '\r', '\n'};

/* --- CRC-64 (ECMA-182, reflected, as in the xz file format) ------------------- */

struct crc {
    uint64_t table[8][256]; /* table[n]: a byte that n more follow */
    uint64_t value;
};

static void crc_begin(struct crc *c)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t x = i;
        for (int bit = 0; bit < 8; bit++)
            x = x >> 1 ^ (x & 1 ? UINT64_C(0xc96c5795d7870f42) : 0);
        c->table[0][i] = x;
    }
    for (unsigned n = 1; n < 8; n++)
        for (unsigned i = 0; i < 256; i++)
            c->table[n][i] = c->table[n - 1][i] >> 8 ^ c->table[0][c->table[n - 1][i] & 0xff];
    c->value = ~UINT64_C(0);
}

static void crc_add(struct crc *c, const unsigned char *at, size_t len)
{
    uint64_t x = c->value;

    for (; len >= 8; at += 8, len -= 8) { /* eight bytes at a time */
        uint64_t sum = 0;
        for (unsigned i = 0; i < 8; i++)
            sum ^= c->table[7 - i][(x >> (8 * i) ^ at[i]) & 0xff];
        x = sum;
    }
    for (; len > 0; at++, len--)
        x = x >> 8 ^ c->table[0][(x ^ *at) & 0xff];
    c->value = x;
}

/* --- numbers ----------------------------------------------------------------- */

static unsigned char *put_number(unsigned char *at, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (unsigned char)(n >> (8 * i));
    return at + bytes;
}

static uint64_t get_number(const char **at, unsigned bytes)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t)(unsigned char)(*at)[i] << (8 * i);
    *at += bytes;
    return n;
}

/* --- writing ----------------------------------------------------------------- */

struct writer {
    struct crc crc;
    state_put_fn *put;
    void *data;
    size_t used;
    unsigned char piece[PIECE];
};

static int flush(struct writer *w)
{
    int err = w->used ? w->put(w->data, w->piece, w->used) : 0;

    crc_add(&w->crc, w->piece, w->used);
    w->used = 0;
    return err;
}

static void write_head(struct writer *w, const struct state *s)
{
    uint32_t digits[EXACT_DIGITS];
    uint64_t count = 0;
    unsigned char *at = w->piece;

    for (unsigned i = 0; !s->estimated && i < s->share_count; i++)
        count += s->shares[i].count;
    memcpy(at, magic, sizeof magic);
    at = put_number(at + sizeof magic, VERSION, 4);
    at = put_number(at, s->estimated ? FLAG_ESTIMATED : 0, 4);
    at = put_number(at, s->key.k[0], 8);
    at = put_number(at, s->key.k[1], 8);
    at = put_number(at, s->total, 8);
    at = put_number(at, s->users_least, 8);
    exact_digits(&s->sum, digits);
    for (unsigned i = 0; i < EXACT_DIGITS; i++)
        at = put_number(at, digits[i], 4);
    at = put_number(at, count, 8);
    w->used = (size_t)(at - w->piece);
}

static int write_users(struct writer *w, const struct users_share *share)
{
    for (uint64_t i = 0; i < share->count; i++) {
        struct user_hash h = users_share_at(share, i);
        int err = sizeof w->piece - w->used < HASH_LEN ? flush(w) : 0;
        if (err < 0)
            return err;
        put_number(put_number(w->piece + w->used, h.a, 8), h.b, 8);
        w->used += HASH_LEN;
    }
    return 0;
}

static int write_all(struct writer *w, const struct state *s)
{
    unsigned char crc[CRC_LEN];
    int err;

    write_head(w, s);
    if ((err = flush(w)) < 0)
        return err;
    if (s->estimated) {
        static_assert(sizeof s->estimate->rank <= PIECE, "one piece");
        memcpy(w->piece, s->estimate->rank, sizeof s->estimate->rank);
        w->used = sizeof s->estimate->rank;
    }
    for (unsigned i = 0; !s->estimated && i < s->share_count; i++)
        if ((err = write_users(w, &s->shares[i])) < 0)
            return err;
    if ((err = flush(w)) < 0)
        return err;
    put_number(crc, ~w->crc.value, 8);
    return w->put(w->data, crc, sizeof crc);
}

int state_write(const struct state *state, state_put_fn *put, void *data)
{
    struct writer *w = mem_zalloc(sizeof *w);

    if (!w)
        return FAIL_MEMORY;
    w->put = put;
    w->data = data;
    crc_begin(&w->crc);
    int err = write_all(w, state);
    mem_free(w);
    return err;
}

/* --- reading ----------------------------------------------------------------- */

static const char *read_head(struct span file, struct state *out)
{
    const char *at = file.ptr + sizeof magic;
    uint32_t digits[EXACT_DIGITS];

    if (file.len < sizeof magic || memcmp(file.ptr, magic, sizeof magic) != 0)
        return "is no state of 1mrc";
    if (file.len < HEAD_LEN + CRC_LEN)
        return "is cut off";
    if (get_number(&at, 4) != VERSION)
        return "is of another version";
    uint64_t flags = get_number(&at, 4);
    out->estimated = flags & FLAG_ESTIMATED;
    out->key.k[0] = get_number(&at, 8);
    out->key.k[1] = get_number(&at, 8);
    out->total = get_number(&at, 8);
    out->users_least = get_number(&at, 8);
    for (unsigned i = 0; i < EXACT_DIGITS; i++)
        digits[i] = (uint32_t)get_number(&at, 4);
    exact_from_digits(&out->sum, digits);
    out->user_count = get_number(&at, 8);
    out->users = at;

    uint64_t payload = file.len - HEAD_LEN - CRC_LEN;
    uint64_t want = out->user_count;
    if (want > USERS_MOST || (out->estimated && want > 0) || (flags & ~(uint64_t)FLAG_ESTIMATED))
        return "is damaged";
    want = out->estimated ? ESTIMATE_REGISTERS : want * HASH_LEN;
    return payload == want ? NULL : payload < want ? "is cut off" : "is damaged";
}

static bool crc_holds(struct span file)
{
    struct crc *crc = mem_alloc(sizeof *crc);
    const char *end = file.ptr + file.len - CRC_LEN;

    if (!crc)
        return false;
    crc_begin(crc);
    crc_add(crc, (const unsigned char *)file.ptr, file.len - CRC_LEN);
    bool holds = get_number(&end, CRC_LEN) == ~crc->value;
    mem_free(crc);
    return holds;
}

const char *state_read(struct span file, struct state *out, struct estimate *estimate)
{
    *out = (struct state){0};
    const char *why = read_head(file, out);
    if (why)
        return why;
    if (!crc_holds(file))
        return "is damaged";
    if (out->estimated) {
        memcpy(estimate->rank, out->users, sizeof estimate->rank);
        for (size_t i = 0; i < ESTIMATE_REGISTERS; i++)
            if (estimate->rank[i] > ESTIMATE_RANK_MAX)
                return "is damaged";
        out->estimate = estimate;
    }
    return NULL;
}

struct user_hash state_user(const struct state *state, uint64_t i)
{
    const char *at = state->users + i * HASH_LEN;
    struct user_hash h = {get_number(&at, 8), 0};

    h.b = get_number(&at, 8);
    return h;
}
