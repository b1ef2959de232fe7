/* The edge of TLS, over memory: a client and a server of our record layer talk through two
 * pipes, and the input says what becomes of the bytes on their way: in pieces, bent, cut,
 * repeated, mixed with others; and when somebody asks for new keys, or for a new handshake,
 * or leaves.
 *
 * Whatever it is, what one side is given is what the other side said, as far as it goes; a
 * failure stays one; and where nobody meddled, nothing fails and all of it arrives.
 */
#include "net/tls_openssl.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

const char *const fuzz_corpus[] = {"tls/edge.txt", NULL};
const unsigned fuzz_mutations = 2500; /* each has a handshake in it */

enum { PIPE_MAX = 256 * 1024, SAID_MAX = 64 * 1024, STEPS_MAX = 200 };

struct pipe {
    char bytes[PIPE_MAX];
    size_t len;
};

struct side {
    struct tls *tls;
    struct pipe in;   /* ciphertext on its way to it */
    struct pipe *out; /* and from it */
    char said[SAID_MAX], heard[SAID_MAX];
    size_t said_len, heard_len;
    bool failed, closed, finished, poor;
    int failure;
};

static struct tls_worker *worker;
static struct tls_set *set;
static struct tls_context *client_context;
static struct side client, server;
static bool meddled, renegotiated;

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* --- the two of them --------------------------------------------------------------------- */

static void remark(void *data, enum tls_about about, bool warning, struct span text)
{
    (void)data, (void)about, (void)text;
    require(warning);
}

static struct span file_read(const char *name)
{
    static char bytes[8192];
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", DATA_DIR, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        perror(path);
    require(file != NULL);
    struct span text = {bytes, fread(bytes, 1, sizeof bytes, file)};
    fclose(file);
    return text;
}

static void prepare(void)
{
    static const uint8_t secret[TLS_SECRET] = {1, 2, 3};
    struct tls_file pem = {SPAN("one.pem"), file_read("tls/one.pem")};
    const struct span alpn[] = {SPAN_INIT("h2"), SPAN_INIT("http/1.1")};
    const struct tls_layer *layer = tls_layer_built;
    struct tls_context *one;

    require(layer->worker_new(&worker) == 0);
    require(layer->context_new(&one, &(struct tls_settings){
                                         .section = SPAN("one"),
                                         .certificates = {&pem, 1},
                                         .alpn = alpn,
                                         .alpn_count = COUNT_OF(alpn),
                                         .tickets = true,
                                         .ticket_rotation_ns = UINT64_C(3600000000000),
                                         .secret = secret,
                                         .now = 1800000000,
                                         .say = remark,
                                     }) == 0);
    require(tls_set_new(&set, &one, 1, false) == 0);
    tls_context_done(one);
    require(layer->client_new(&client_context, &(struct tls_client_settings){
                                                   .section = SPAN("u"),
                                                   .alpn = alpn,
                                                   .alpn_count = COUNT_OF(alpn),
                                                   .now = 1800000000,
                                                   .say = remark,
                                               }) == 0);
}

static bool pipe_put(void *data, struct span bytes)
{
    struct side *s = data;

    if (s->poor || s->out->len + bytes.len > PIPE_MAX) {
        s->poor = false;
        meddled = true;
        return false;
    }
    memcpy(s->out->bytes + s->out->len, bytes.ptr, bytes.len);
    s->out->len += bytes.len;
    return true;
}

static struct tls_io io_of(struct side *s, size_t n)
{
    return (struct tls_io){.in = {s->in.bytes, n},
                           .put = pipe_put,
                           .put_data = s,
                           .wall_ns = UINT64_C(1800000000000000000)};
}

static void pipe_drop(struct pipe *p, size_t at, size_t n)
{
    memmove(p->bytes + at, p->bytes + at + n, p->len - at - n);
    p->len -= n;
}

static void side_failed(struct side *s, int err)
{
    require(!s->failed || s->failure == err);
    if (err == FAIL_CLOSED)
        s->closed = true;
    else
        s->failed = true;
    s->failure = err;
}

/* It is given the first n bytes of what is on its way, as a wire would: as often as it takes
 * something or has something to give. */
static void side_receive(struct side *s, size_t n, size_t room)
{
    const struct side *other = s == &client ? &server : &client;
    char *plain = malloc(room); /* of its own, so that a byte too many is noticed */

    require(plain != NULL);
    do {
        struct tls_io io = io_of(s, n);
        size_t got = 0;
        int err = s->tls->layer->receive(s->tls, &io, plain, room, &got);
        require(got <= room && io.in.len <= n && io.in.ptr == s->in.bytes + (n - io.in.len));
        require(s->heard_len + got <= other->said_len);
        if (got > 0)
            require(memcmp(plain, other->said + s->heard_len, got) == 0);
        s->heard_len += got;
        pipe_drop(&s->in, 0, n - io.in.len);
        n = io.in.len;
        if (err < 0) {
            side_failed(s, err);
            break;
        }
        require(!s->failed);
    } while (s->tls->pending);
    free(plain);
}

static void side_say(struct side *s, size_t n)
{
    struct tls_io io = io_of(s, 0);
    char *text = s->said + s->said_len;

    if (!s->tls->ready || s->failed || s->finished || s->said_len + n > SAID_MAX)
        return;
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(s->said_len + i) ^ (s == &client ? 0 : 0x55);
    s->said_len += n; /* as much as it can be, also where it fails half-way */
    int err = s->tls->layer->send(s->tls, &io, (struct span){text, n});
    if (err < 0)
        side_failed(s, err);
}

static void side_finish(struct side *s)
{
    struct tls_io io = io_of(s, 0);

    if (s->finished || s->failed)
        return;
    if (s->tls->layer->finish(s->tls, &io) < 0)
        meddled = true;
    else
        s->finished = s->tls->ready;
}

/* Everything that is on its way arrives, and what is said because of it. */
static void talk(void)
{
    for (unsigned i = 0; i < 20; i++) {
        bool quiet = server.in.len == 0 && client.in.len == 0;
        if (quiet && (i > 0 || client.tls->ready))
            break;
        size_t before = server.in.len + client.in.len;
        side_receive(&server, server.in.len, 4096);
        side_receive(&client, client.in.len, 16384);
        if (i > 1 && before == server.in.len + client.in.len)
            break;
    }
}

/* What a well-behaved peer would not ask, or not like this: with OpenSSL's own hands. */
static void ask_for_keys(struct side *s)
{
    SSL *ssl = openssl_of(s->tls)->ssl;
    struct tls_io io = io_of(s, 0);

    if (!s->tls->ready || s->failed || s->finished)
        return;
    worker->io = &io;
    if (SSL_version(ssl) == TLS1_3_VERSION) {
        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(ssl);
    } else {
        SSL_clear_options(ssl, SSL_OP_NO_RENEGOTIATION);
        renegotiated = true;
        SSL_renegotiate(ssl);
        SSL_do_handshake(ssl);
    }
    ERR_clear_error();
    worker->io = NULL;
}

/* --- the input --------------------------------------------------------------------------- */

struct input {
    const uint8_t *at, *end;
};

static unsigned next(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* So many bytes of the input, put in before what is on its way to the server. */
static void insert(struct input *in, struct pipe *p, size_t n, bool as_record)
{
    size_t left = (size_t)(in->end - in->at), head = as_record ? 5 : 0;

    n = n < left ? n : left;
    if (p->len + n + head > PIPE_MAX)
        return;
    memmove(p->bytes + n + head, p->bytes, p->len);
    if (as_record) { /* of whatever type comes first in it */
        unsigned type = n ? *in->at : 22;
        memcpy(p->bytes, (char[]){(char)type, 3, 3, (char)(n >> 8), (char)n}, 5);
    }
    if (n)
        memcpy(p->bytes + head, in->at, n);
    in->at += n;
    p->len += n + head;
    meddled |= n + head > 0;
}

/* One step: a letter, and a number.  In capitals: of the server. */
static void step(struct input *in)
{
    unsigned what = next(in), n = next(in);
    struct side *s = what & 0x20 ? &client : &server;
    struct pipe *p = &s->in;
    size_t at = p->len ? n * p->len / 256 : 0, some = n < p->len ? n : p->len;

    switch (what | 0x20) {
    case 't': /* talk */
        talk();
        break;
    case 'g': /* gets n bytes */
        side_receive(s, some, 1 + n * 16);
        break;
    case 'a': /* gets all of it, with little room */
        side_receive(s, p->len, 1 + n);
        break;
    case 's': /* says */
        side_say(s, 1 + n);
        break;
    case 'l': /* says a lot */
        side_say(s, TLS_RECORD_MAX);
        break;
    case 'b': /* a bit is bent on the way to it */
        if (p->len) {
            p->bytes[at] = (char)(p->bytes[at] ^ 1 << n % 8);
            meddled = true;
        }
        break;
    case 'd': /* bytes are dropped */
        meddled |= some > 0;
        pipe_drop(p, 0, some);
        break;
    case 'c': /* cut at n of 256 */
        meddled |= p->len > at;
        p->len = at;
        break;
    case 'r': /* its first bytes come again */
        if (p->len + some <= PIPE_MAX && some) {
            memcpy(p->bytes + p->len, p->bytes, some);
            p->len += some;
            meddled = true;
        }
        break;
    case 'i': /* others come first */
        insert(in, p, n, false);
        break;
    case 'o': /* as a record */
        insert(in, p, n, true);
        break;
    case 'k': /* new keys */
        ask_for_keys(s);
        break;
    case 'f': /* says goodbye */
        side_finish(s);
        break;
    case 'p': /* has no memory, once */
        s->poor = true;
        break;
    default:
        break;
    }
}

static void side_begin(struct side *s, struct side *other)
{
    s->out = &other->in;
    s->in.len = s->said_len = s->heard_len = 0;
    s->failed = s->closed = s->finished = s->poor = false;
    s->failure = 0;
}

/* Nobody meddled: then it all arrives. */
static void settle(void)
{
    client.poor = server.poor = false;
    talk();
    if (meddled || renegotiated)
        return;
    require(!client.failed && !server.failed);
    if (!client.finished && !server.finished)
        require(client.tls->ready && server.tls->ready);
    if (!server.finished)
        require(server.heard_len == client.said_len && server.closed == client.finished);
    if (!client.finished)
        require(client.heard_len == server.said_len && client.closed == server.finished);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tls_layer *layer = tls_layer_built;
    struct input in = {data, data + size};

    next(&in); /* the two bytes of choices choose nothing here */
    next(&in);
    if (!worker)
        prepare();
    side_begin(&client, &server);
    side_begin(&server, &client);
    meddled = renegotiated = false;
    require(layer->accept(&server.tls, worker, tls_set_use(set)) == 0);
    require(layer->connect(&client.tls, worker, client_context, SPAN("one.test"), NULL) == 0);
    SSL_set_max_proto_version(openssl_of(client.tls)->ssl,
                              in.at < in.end && *in.at == '2' ? TLS1_2_VERSION : TLS1_3_VERSION);
    side_receive(&client, 0, 1); /* says hello */
    for (unsigned i = 0; i < STEPS_MAX && in.at < in.end; i++)
        step(&in);
    settle();
    tls_close(client.tls);
    tls_close(server.tls);
    return 0;
}
