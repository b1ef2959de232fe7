/* A connection that sends requests and reads answers. */
#include "client.h"

#include "base/mem.h"
#include "bench/crew.h"

enum {
    STASH_MAX = 64 * 1024, /* a longer head or trailer section is a bad answer */
    FIELDS_MAX = 128,
    PAUSE_FIRST_MS = 10,
    PAUSE_MAX_MS = 1000,
};

static const struct h1_limits limits = {
    .request_line_max = STASH_MAX,
    .head_max = STASH_MAX,
    .fields_max = FIELDS_MAX,
};

static void client_step(struct owner *owner);

bool client_init(struct client *c, struct crew *crew)
{
    *c = (struct client){.crew = crew, .sock = {.fd = -1}};
    owner_init(&c->owner, &crew->io->owners, client_step);
    c->connect.owner = c->recv.owner = c->send.owner = c->timer.owner = &c->owner;
    c->timer.at = TIME_NEVER;
    c->tickets = mem_alloc(crew->plan.depth * sizeof *c->tickets);
    /* Twice the depth: what is on its way out may have been answered already
     * when the next ones are written behind it. */
    c->out = mem_alloc(2 * crew->plan.depth * crew->work->request_max);
    return c->tickets && c->out;
}

void client_free(struct client *c)
{
    if (c->owner.step) {
        io_timer_clear(c->crew->io, &c->timer);
        owner_retire(&c->owner);
    }
    list_remove(&c->idle);
    mem_free(c->tickets);
    mem_free(c->out);
    mem_free(c->stash);
}

void client_wake(struct client *c)
{
    owner_wake(&c->owner);
}

/* --- tickets ------------------------------------------------------------------ */

static struct ticket *ticket_at(struct client *c, uint32_t i)
{
    uint32_t at = c->first + i;

    return &c->tickets[at < c->crew->plan.depth ? at : at - c->crew->plan.depth];
}

static void tickets_drop(struct client *c, uint32_t count)
{
    c->first = (uint32_t)((c->first + count) % c->crew->plan.depth);
    c->held -= count;
    c->written = c->written > count ? c->written - count : 0;
    crew_dropped(c->crew, count);
}

/* What was on the connection has failed. */
static void tickets_fail(struct client *c, enum trouble kind)
{
    uint32_t count = c->written;

    if (count == 0)
        return;
    crew_trouble(c->crew, kind, count);
    tickets_drop(c, count);
}

/* --- opening and closing --------------------------------------------------------- */

static void client_dial(struct client *c)
{
    struct crew *crew = c->crew;

    c->state = CLIENT_CONNECTING;
    crew->connecting++;
    c->written = 0;
    c->out_start = c->out_end = 0;
    c->in_content = false;
    c->stash_len = 0;
    h1_parser_init(&c->parser, &limits);
    io_connect(crew->io, &c->connect, &c->sock, &crew->plan.to);
    io_timer_set(crew->io, &c->timer, io_now(crew->io) + crew->plan.timeout_ns);
}

static void client_hang_up(struct client *c)
{
    struct io *io = c->crew->io;

    if (c->state == CLIENT_CONNECTING)
        c->crew->connecting--;
    if (io_busy(&c->connect))
        io_cancel(io, &c->connect);
    if (io_busy(&c->recv))
        io_cancel(io, &c->recv);
    if (io_busy(&c->send))
        io_cancel(io, &c->send);
    io_timer_set(io, &c->timer, TIME_NEVER);
    c->written = 0;
    c->state = CLIENT_CLOSING;
}

/* The connection is of no more use, and what is on it is lost. */
static void client_lost(struct client *c, enum trouble kind)
{
    tickets_fail(c, kind);
    client_hang_up(c);
}

static void client_give_up(struct client *c)
{
    crew_trouble(c->crew, TROUBLE_UNSENT, c->held);
    tickets_drop(c, c->held);
    c->crew->given_up++;
    c->state = CLIENT_GIVEN_UP;
}

static enum trouble trouble_of_connect(int fail)
{
    switch (fail) {
    case FAIL_REFUSED:
        return TROUBLE_CONNECT_REFUSED;
    case FAIL_TIMEOUT:
        return TROUBLE_CONNECT_TIMEOUT;
    case FAIL_DESCRIPTORS:
    case FAIL_MEMORY:
        return TROUBLE_LOCAL;
    default:
        return TROUBLE_CONNECT_FAILED;
    }
}

/* Waits a little longer each time, so that a restarting server is found again
 * and a dead one is not hammered. */
static void client_refused(struct client *c, enum trouble kind)
{
    uint64_t pause_ms = PAUSE_FIRST_MS;

    crew_trouble(c->crew, kind, 1);
    if (++c->failures >= c->crew->plan.connect_tries || c->crew->stopping) {
        client_give_up(c);
        return;
    }
    for (unsigned i = 1; i < c->failures && pause_ms < PAUSE_MAX_MS; i++)
        pause_ms *= 2;
    c->state = CLIENT_PAUSED;
    io_timer_set(c->crew->io, &c->timer,
                 io_now(c->crew->io) +
                     (pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS) * NS_PER_MS);
}

static void client_connected(struct client *c)
{
    if (c->state != CLIENT_CONNECTING)
        return; /* hung up meanwhile; there may be a socket to close */
    c->crew->connecting--;
    io_timer_set(c->crew->io, &c->timer, TIME_NEVER);
    if (c->connect.fail < 0) {
        client_refused(c, trouble_of_connect(c->connect.fail));
        return;
    }
    c->crew->tally.connects++;
    c->crew->tally.reconnects += c->connected_before;
    c->connected_before = true;
    c->failures = 0;
    c->state = CLIENT_OPEN;
}

/* --- reading -------------------------------------------------------------------- */

static void client_answered(struct client *c)
{
    c->in_content = false;
    h1_parser_init(&c->parser, &limits);
    crew_answered(c->crew, ticket_at(c, 0), c->status);
    tickets_drop(c, 1);
    if (!c->keep_alive)
        client_hang_up(c);
    else if (c->written > 0)
        io_timer_set(c->crew->io, &c->timer, io_now(c->crew->io) + c->crew->plan.timeout_ns);
}

/* The head is known: what follows it? */
static void head_done(struct client *c, enum framing framing, uint64_t content_length)
{
    if (c->status < 200) {
        h1_parser_init(&c->parser, &limits); /* interim: the answer is yet to come */
        if (c->status == 101)
            client_lost(c, TROUBLE_BAD_RESPONSE);
        return;
    }
    if (framing == FRAMING_NONE || (framing == FRAMING_LENGTH && content_length == 0)) {
        client_answered(c);
        return;
    }
    c->in_content = true;
    h1_content_init(&c->content, framing, content_length, &limits, NULL);
}

static void head_keep(struct head_kept *kept, struct span head, const struct response *r)
{
    if (head.len > HEAD_KEPT_MAX)
        return;
    memcpy(kept->bytes, head.ptr, head.len);
    kept->len = (uint32_t)head.len;
    kept->status = r->status;
    kept->framing = r->framing;
    kept->content_length = r->content_length;
    kept->keep_alive = r->keep_alive;
}

/* Each of these two says how many bytes it used; 0 means it needs more. */
static size_t head_read(struct client *c, struct span bytes)
{
    struct head_kept *kept = &c->crew->head;
    struct field fields[FIELDS_MAX];
    struct response r = {.fields = {.list = fields, .max = FIELDS_MAX}};

    if (kept->len > 0 && bytes.len >= kept->len && memcmp(bytes.ptr, kept->bytes, kept->len) == 0) {
        uint32_t len = kept->len;
        c->status = kept->status;
        c->keep_alive = kept->keep_alive;
        head_done(c, kept->framing, kept->content_length);
        return len;
    }
    switch (h1_parse_response(&c->parser, bytes, c->crew->work->method, &r)) {
    case PARSE_MORE:
        return 0;
    case PARSE_BAD:
        client_lost(c, TROUBLE_BAD_RESPONSE);
        return bytes.len;
    case PARSE_DONE:
        break;
    }
    uint32_t len = c->parser.head_bytes;
    head_keep(kept, span_first(bytes, len), &r);
    c->status = r.status;
    c->keep_alive = r.keep_alive;
    head_done(c, r.framing, r.content_length);
    return len;
}

static size_t content_read(struct client *c, struct span bytes)
{
    struct work *work = c->crew->work;
    struct h1_piece piece;
    enum cause cause;

    switch (h1_content_next(&c->content, bytes, &piece, &cause)) {
    case PARSE_BAD:
        client_lost(c, TROUBLE_BAD_RESPONSE);
        return bytes.len;
    case PARSE_DONE:
        client_answered(c);
        return piece.skip;
    case PARSE_MORE:
        break;
    }
    if (piece.content > 0 && work->content)
        work->content(work, (struct span){bytes.ptr + piece.skip, piece.content});
    h1_content_took(&c->content, piece.content);
    if (h1_content_complete(&c->content))
        client_answered(c);
    return piece.skip + piece.content;
}

/* Reads answers as far as there are bytes for; returns how many were used. */
static size_t answers_read(struct client *c, struct span bytes)
{
    size_t used = 0;

    while (used < bytes.len && c->state == CLIENT_OPEN) {
        struct span rest = span_after(bytes, used);
        bool in_content = c->in_content;
        if (!in_content && c->written == 0) {
            client_lost(c, TROUBLE_BAD_RESPONSE); /* nobody asked */
            crew_trouble(c->crew, TROUBLE_BAD_RESPONSE, 1);
            break;
        }
        size_t n = in_content ? content_read(c, rest) : head_read(c, rest);
        used += n;
        /* A chunk's end may use no bytes and still change the state. */
        if (n == 0 && c->in_content == in_content)
            break;
    }
    return used;
}

/* Keeps what was not used until more comes.  False when it is too long, or there is no memory. */
static bool stash_add(struct client *c, struct span bytes)
{
    size_t need = c->stash_len + bytes.len;

    if (need > c->stash_size) {
        size_t size = need < 4096 ? 4096 : 2 * need;
        char *bigger = mem_resize(c->stash, size);
        if (!bigger)
            return false;
        c->stash = bigger;
        c->stash_size = (uint32_t)size;
    }
    memcpy(c->stash + c->stash_len, bytes.ptr, bytes.len);
    c->stash_len += (uint32_t)bytes.len;
    return true;
}

static void bytes_arrived(struct client *c, struct span bytes)
{
    size_t used;

    if (c->stash_len == 0) {
        used = answers_read(c, bytes);
        if (c->state != CLIENT_OPEN || used == bytes.len)
            return;
        if (!stash_add(c, span_after(bytes, used)))
            client_lost(c, TROUBLE_LOCAL);
        return;
    }
    if (!stash_add(c, bytes)) {
        client_lost(c, TROUBLE_LOCAL);
        return;
    }
    used = answers_read(c, (struct span){c->stash, c->stash_len});
    if (c->state != CLIENT_OPEN)
        return;
    c->stash_len -= (uint32_t)used;
    memmove(c->stash, c->stash + used, c->stash_len);
    if (c->stash_len > STASH_MAX)
        client_lost(c, TROUBLE_BAD_RESPONSE);
}

static void client_ended(struct client *c, int fail)
{
    if (fail == FAIL_CLOSED && c->in_content && h1_content_ended(&c->content)) {
        c->keep_alive = false;
        client_answered(c);
        return;
    }
    client_lost(c, fail == FAIL_CLOSED ? TROUBLE_CLOSED_EARLY : TROUBLE_RESET);
}

static void client_received(struct client *c)
{
    if (c->state != CLIENT_OPEN)
        return;
    if (c->recv.fail < 0)
        client_ended(c, c->recv.fail);
    else
        bytes_arrived(c, (struct span){c->recv.slice.ptr, c->recv.slice.len});
}

/* --- writing -------------------------------------------------------------------- */

static void client_sent(struct client *c)
{
    if (c->state != CLIENT_OPEN)
        return;
    /* A failed send is not the last word: an answer may have come before the
     * reset.  Nothing more is sent, and receiving tells the end. */
    if (c->send.fail < 0)
        c->out_start = c->out_end;
    else
        c->out_start += c->send.count;
}

static bool ticket_for_writing(struct client *c)
{
    if (c->written < c->held)
        return true;
    if (!crew_take(c->crew, ticket_at(c, c->held)))
        return false;
    c->held++;
    return true;
}

static void client_write(struct client *c)
{
    struct crew *crew = c->crew;
    uint32_t size = (uint32_t)(2 * crew->plan.depth * crew->work->request_max);
    bool first = c->written == 0;
    uint64_t now = 0;

    if (c->written == crew->plan.depth)
        return;
    if (!io_busy(&c->send) && c->out_start == c->out_end)
        c->out_start = c->out_end = 0;
    while (c->written < crew->plan.depth && c->out_end + crew->work->request_max <= size) {
        if (!ticket_for_writing(c))
            break;
        struct ticket *t = ticket_at(c, c->written++);
        if (now == 0)
            now = bench_clock();
        if (t->start_ns == 0)
            t->start_ns = now;
        else if (crew->work->pump)
            histogram_add(&crew->tally.late, now > t->start_ns ? now - t->start_ns : 0);
        c->out_end += (uint32_t)crew->work->write(crew->work, t->number, c->out + c->out_end);
    }
    if (first && c->written > 0)
        io_timer_set(crew->io, &c->timer, io_now(crew->io) + crew->plan.timeout_ns);
}

static void client_send(struct client *c)
{
    if (io_busy(&c->send) || c->out_start == c->out_end)
        return;
    c->vec = (struct io_vec){c->out + c->out_start, c->out_end - c->out_start};
    io_send(c->crew->io, &c->send, &c->sock, &c->vec, 1);
}

/* --- the step ------------------------------------------------------------------- */

static void client_late(struct client *c)
{
    switch (c->state) {
    case CLIENT_PAUSED:
        c->state = CLIENT_OFF;
        break;
    case CLIENT_CONNECTING:
        crew_trouble(c->crew, TROUBLE_CONNECT_TIMEOUT, 1);
        c->failures++;
        client_hang_up(c);
        break;
    case CLIENT_OPEN:
        if (c->written > 0)
            client_lost(c, TROUBLE_TIMEOUT);
        break;
    default:
        break;
    }
}

static bool client_quiet(const struct client *c)
{
    return !io_busy(&c->connect) && !io_busy(&c->recv) && !io_busy(&c->send);
}

static bool wants_connection(struct client *c)
{
    if (c->crew->stopping)
        return false;
    return !c->connected_before || ticket_for_writing(c);
}

static void client_open_step(struct client *c)
{
    if (c->crew->stopping && c->held == 0) {
        client_hang_up(c);
        return;
    }
    client_write(c);
    client_send(c);
    if (!io_busy(&c->recv))
        io_recv(c->crew->io, &c->recv, &c->sock, IO_ROOM_SMALL);
}

/* Is in the crew's list while it could take a request. */
static void client_offer(struct client *c)
{
    bool able = c->state == CLIENT_OPEN || c->state == CLIENT_OFF;

    if (!able || c->held == c->crew->plan.depth)
        list_remove(&c->idle);
    else if (!link_linked(&c->idle))
        list_append(&c->crew->idle, &c->idle);
}

static void client_step(struct owner *owner)
{
    struct client *c = container_of(owner, struct client, owner);
    struct crew *crew = c->crew;

    if (io_take(&c->connect))
        client_connected(c);
    if (io_take(&c->recv))
        client_received(c);
    if (io_take(&c->send))
        client_sent(c);
    if (io_timer_take(&c->timer))
        client_late(c);

    if (c->state == CLIENT_OPEN)
        client_open_step(c);
    if (c->state == CLIENT_CONNECTING && crew->stopping)
        client_hang_up(c);
    if (c->state == CLIENT_CLOSING && client_quiet(c)) {
        io_close(crew->io, &c->sock);
        c->state = CLIENT_OFF;
        if (c->failures >= crew->plan.connect_tries)
            client_give_up(c);
    }
    if (c->state == CLIENT_PAUSED && crew->stopping)
        client_give_up(c);
    if (c->state == CLIENT_OFF && wants_connection(c))
        client_dial(c);
    client_offer(c);
}
