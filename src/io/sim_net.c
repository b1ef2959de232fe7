/* The simulator's network: connections between ends, and scripts at some.
 *
 * What one end sends is put behind what is on its way to the other, and
 * arrives later, in order.  Nothing is lost but by a reset.
 */
#include "io/sim_world.h"

#include <assert.h>
#include <stdlib.h>

#define ACK_NS (20 * NS_PER_MS)

enum {
    WINDOW = 256 * 1024,
    CONNECT_TRIES = 5,
    PIECES_MAX = 6, /* how many an arrival is cut into */
};

static uint64_t latency(struct sim *sim)
{
    uint64_t ns = sim->latency_ns / 2 + random_below(&sim->random, sim->latency_ns);

    if (sim_chance(sim, SIM_STALLS, 32))
        ns += random_below(&sim->random, 200 * NS_PER_MS);
    return ns;
}

/* --- bytes on their way -------------------------------------------------------------- */

/* What comes from the other end says how much of ours is there; but for RST, whose word is
 * not listened to.  Else it is said after a while. */
static void ack_arrived(struct sim *sim, void *data, uint64_t bytes)
{
    struct sim_end *end = data;

    (void)sim;
    if (bytes > end->acked && !end->reset)
        end->acked = bytes;
}

/* Whatever comes later arrives later. */
static void reset_arrived(struct sim *sim, void *data, uint64_t value);
static void arrive_at(struct sim *sim, struct sim_end *to,
                      void (*run)(struct sim *, void *, uint64_t), uint64_t value)
{
    uint64_t at = sim->now + latency(sim);

    if (at < to->last_at)
        at = to->last_at;
    to->last_at = at;
    if (run != reset_arrived)
        sim_at(sim, at, ack_arrived, to, to->other->arrived);
    sim_at(sim, at, run, to, value);
}

static void hear(struct sim *sim, struct sim_end *end);
static void hear_soon(struct sim *sim, struct sim_end *end);

static void reset_arrived(struct sim *sim, void *data, uint64_t value)
{
    struct sim_end *end = data;

    (void)value;
    if (end->reset || end->closed)
        return;
    end->reset = true;
    if (random_below(&sim->random, 2)) { /* some systems drop what was not read yet */
        end->lost = end->from < end->here;
        end->from = end->here;
    }
    if (end->peer)
        hear(sim, end);
    else
        sim_poke(end);
}

void sim_rst(struct sim *sim, struct sim_end *from)
{
    if (from->other)
        arrive_at(sim, from->other, reset_arrived, 0);
}

static void bytes_arrived(struct sim *sim, void *data, uint64_t len)
{
    struct sim_end *end = data;

    if (end->reset)
        return;
    end->here += len;
    assert(end->here <= end->to);
    if (end->closed) {
        sim_rst(sim, end);
        return;
    }
    end->arrived += len;
    sim_at(sim, sim->now + ACK_NS, ack_arrived, end->other, end->arrived);
    if (end->peer)
        hear_soon(sim, end);
    else
        sim_poke(end);
}

static void fin_arrived(struct sim *sim, void *data, uint64_t value)
{
    struct sim_end *end = data;

    (void)value;
    if (end->reset || end->closed)
        return;
    end->fin = true;
    if (end->peer)
        hear(sim, end);
    else
        sim_poke(end);
}

void sim_transmit(struct sim *sim, struct sim_end *from, const char *bytes, size_t len)
{
    struct sim_end *to = from->other;

    assert(!from->shut && !from->closed);
    from->sent += len;
    if (to->to + len > to->room) {
        size_t used = to->to - to->from;
        if (used)
            memmove(to->in, to->in + to->from, used);
        to->here -= to->from;
        to->from = 0;
        to->to = used;
        if (used + len > to->room) {
            to->room = (used + len) * 2;
            to->in = realloc(to->in, to->room);
            assert(to->in);
        }
    }
    memcpy(to->in + to->to, bytes, len);
    to->to += len;
    for (unsigned i = 0; len > 0; i++) {
        size_t n = len;
        if (i < PIECES_MAX && sim_chance(sim, SIM_SHORT, 2))
            n = 1 + (size_t)random_below(&sim->random, len);
        arrive_at(sim, to, bytes_arrived, n);
        len -= n;
    }
}

size_t sim_window_free(const struct sim_end *from)
{
    const struct sim_end *to = from->other;
    size_t used = to->to - to->from;

    if (to->closed)
        return WINDOW;
    return used < to->window ? to->window - used : 0;
}

void sim_fin(struct sim *sim, struct sim_end *from)
{
    assert(!from->closed && !from->send);
    if (from->shut)
        return;
    from->shut = true;
    arrive_at(sim, from->other, fin_arrived, 0);
}

static void speak(struct sim *sim, struct sim_speaker *s);

/* Its user has read; there is room for the other again. */
void sim_consume(struct sim *sim, struct sim_end *end, size_t len)
{
    end->from += len;
    end->taken += len;
    if (end->other->peer)
        speak(sim, (struct sim_speaker *)end->other->peer);
    else
        sim_poke(end->other);
}

/* Any copy's accept may be the fastest; the others wait on. */
static void listener_poke(struct sim_end *first)
{
    for (struct sim_end *l = first; l; l = l->next_copy) {
        unsigned n = first->waiting_count;
        for (struct link_node *at = l->accepts.next; at != &l->accepts && n > 0; at = at->next) {
            sim_flight_come(container_of(at, struct sim_flight, queue), 0);
            n--;
        }
    }
}

/* What can complete now? */
void sim_poke(struct sim_end *end)
{
    if (end->kind == SIM_LISTENER) {
        listener_poke(end->first);
        return;
    }
    if (end->recv && (end->here > end->from || end->fin || end->reset))
        sim_flight_come(end->recv, 0);
    if (end->send && (end->reset || sim_window_free(end) > 0))
        sim_flight_come(end->send, 0);
}

/* Unread bytes make a system say RST, which may destroy what was sent last. */
void sim_stream_close(struct sim *sim, struct sim_end *end, bool reset)
{
    assert(!end->closed);
    if (end->fd >= 0)
        sim_descriptor_free(sim, end);
    end->closed = true;
    end->sock = NULL;
    if (!end->other || end->reset)
        return;
    if (reset || end->here > end->from)
        sim_rst(sim, end);
    else if (!end->shut)
        arrive_at(sim, end->other, fin_arrived, 0);
    end->shut = true;
    if (end->other->peer)
        speak(sim, (struct sim_speaker *)end->other->peer);
    else
        sim_poke(end->other);
}

/* --- listening and connecting ----------------------------------------------------------- */

static bool address_any(const struct address *a)
{
    static const uint8_t none[16];

    return (a->family == ADDRESS_IPV4 && memcmp(a->ip, none, 4) == 0) ||
           (a->family == ADDRESS_IPV6 && memcmp(a->ip, none, 16) == 0);
}

static bool listens_on(const struct sim_end *l, const struct address *to)
{
    const struct address *at = &l->spec.at;

    if (l->kind != SIM_LISTENER || l->closed)
        return false;
    if (address_equal(at, to))
        return true;
    return address_any(at) && at->port == to->port &&
           (at->family == to->family ||
            (at->family == ADDRESS_IPV6 && !l->spec.v6_only && to->family == ADDRESS_IPV4));
}

int sim_listen(void *world, const struct io_listen *spec, int *fd)
{
    struct sim *sim = world;
    struct sim_end *end;
    int err;

    for (end = sim->ends; end; end = end->next_all)
        if (listens_on(end, &spec->at) && !(end->spec.reuse_port && spec->reuse_port))
            return FAIL_IN_USE;
    end = sim_end_new(sim, SIM_LISTENER);
    if ((err = sim_descriptor_new(sim, end)) < 0) {
        end->closed = true;
        return err;
    }
    end->spec = *spec;
    end->first = end;
    end->copies = 1;
    *fd = end->fd;
    return 0;
}

int sim_listen_copy(void *world, int fd, int *copy)
{
    struct sim *sim = world;
    struct sim_end *of = sim_end_of(sim, fd), *end = sim_end_new(sim, SIM_LISTENER);
    int err = sim_descriptor_new(sim, end);

    assert(of->kind == SIM_LISTENER);
    if (err < 0) {
        end->closed = true;
        return err;
    }
    end->spec = of->spec;
    end->first = of->first;
    end->next_copy = end->first->next_copy;
    end->first->next_copy = end;
    end->first->copies++;
    *copy = end->fd;
    return 0;
}

/* Connections nobody accepted are reset. */
void sim_listener_close(struct sim *sim, struct sim_end *end)
{
    assert(end->kind == SIM_LISTENER && !end->closed && list_empty(&end->accepts));
    struct sim_end *first = end->first;
    struct sim_end *waiting = --first->copies == 0 ? first->waiting : NULL;
    for (struct sim_end *w = waiting, *next; w; w = next) {
        next = w->next_waiting;
        sim_stream_close(sim, w, true);
    }
    if (first->copies == 0)
        first->waiting = NULL;
    end->closed = true;
    end->sock = NULL;
    sim_descriptor_free(sim, end);
}

static struct sim_end *listener_find(struct sim *sim, const struct address *to)
{
    struct sim_end *chosen = NULL;
    uint64_t n = 0;

    for (struct sim_end *end = sim->ends; end; end = end->next_all)
        if (listens_on(end, to) && random_below(&sim->random, ++n) == 0)
            chosen = end;
    return chosen ? chosen->first : NULL;
}

static uint32_t window_of(struct sim *sim)
{
    if (sim_chance(sim, SIM_NARROW, 2))
        return 300 + (uint32_t)random_below(&sim->random, 8 * 1024);
    return WINDOW;
}

static void join(struct sim *sim, struct sim_end *a, struct sim_end *b)
{
    a->other = b;
    b->other = a;
    a->window = window_of(sim);
    b->window = window_of(sim);
}

static void listener_offer(struct sim_end *l, struct sim_end *end, const struct address *to,
                           const struct address *from)
{
    end->address = *to;
    end->peer_address = *from;
    *l->waiting_end = end;
    l->waiting_end = &end->next_waiting;
    l->waiting_count++;
    sim_poke(l);
}

static bool listener_full(const struct sim_end *l)
{
    return l->spec.backlog > 0 && l->waiting_count >= (unsigned)l->spec.backlog;
}

static struct sim_speaker *speaker_new(struct sim *sim)
{
    struct sim_speaker *s = sim_alloc(sizeof *s);

    s->peer.sim = sim;
    s->peer.end = sim_end_new(sim, SIM_STREAM);
    s->peer.end->peer = &s->peer;
    s->script_end = &s->script;
    s->reading = true;
    s->read_most = UINT32_MAX;
    s->next = sim->speakers;
    sim->speakers = s;
    return s;
}

static struct sim_origin *origin_find(struct sim *sim, const struct address *to)
{
    for (struct sim_origin *o = sim->origins; o; o = o->next)
        if (address_equal(&o->at, to))
            return o;
    return NULL;
}

static void dial_decide(struct sim_flight *f, int fate, uint64_t delay)
{
    f->decided = true;
    f->fate = fate;
    sim_flight_come(f, delay);
}

static void dial_origin(struct sim *sim, struct sim_flight *f, struct sim_origin *o)
{
    struct sim_speaker *s = speaker_new(sim);

    join(sim, f->end, s->peer.end);
    s->peer.from = o->at;
    s->peer.connected = true;
    s->peer.connected_at = sim->now;
    o->connections++;
    dial_decide(f, 0, latency(sim));
    if (o->accepted)
        o->accepted(o, &s->peer);
}

/* The other side hears of it. */
static void dial_arrived(struct sim *sim, void *data, uint64_t number)
{
    struct sim_flight *f = NULL;
    struct link_node *at;

    /* It may have been cancelled, and gone, meanwhile. */
    for (at = sim->flights.next; at != &sim->flights; at = at->next) {
        f = container_of(at, struct sim_flight, node);
        if (f == data && f->number == number)
            break;
    }
    if (at == &sim->flights || f->state != SIM_PARKED)
        return;
    struct sim_origin *o = origin_find(sim, f->op->to);
    struct sim_end *l = listener_find(sim, f->op->to);
    if (o && o->dialled == SIM_ACCEPT) {
        dial_origin(sim, f, o);
    } else if (o && o->dialled == SIM_SILENT) {
        return;
    } else if (o && o->dialled == SIM_UNREACHABLE) {
        dial_decide(f, FAIL_UNREACHABLE, latency(sim));
    } else if (l && !listener_full(l)) {
        struct sim_end *end = sim_end_new(sim, SIM_STREAM);
        join(sim, f->end, end);
        dial_decide(f, 0, latency(sim));
        listener_offer(l, end, f->op->to,
                       &(struct address){.family = ADDRESS_IPV4,
                                         .ip = {127, 0, 0, 1},
                                         .port = (uint16_t)(1024 + number % 60000)});
    } else if (!l) {
        dial_decide(f, FAIL_REFUSED, latency(sim));
    }
}

void sim_dial(struct sim *sim, struct sim_flight *f)
{
    struct sim_origin *o = origin_find(sim, f->op->to);

    f->end = sim_end_new(sim, SIM_STREAM);
    f->end->send = f;
    if (sim_descriptor_new(sim, f->end) < 0) {
        dial_decide(f, FAIL_DESCRIPTORS, 0);
        return;
    }
    sim_at(sim, sim->now + latency(sim) + (o ? o->delay_ns : 0), dial_arrived, f, f->number);
}

void sim_origin_add(struct sim *sim, struct sim_origin *origin)
{
    origin->next = sim->origins;
    sim->origins = origin;
}

static void client_arrived(struct sim *sim, void *data, uint64_t value)
{
    struct sim_speaker *s = data;
    struct sim_end *l = listener_find(sim, &s->peer.to), *end;

    (void)value;
    if (s->peer.closed)
        return;
    if (!l || (listener_full(l) && ++s->tries == CONNECT_TRIES)) {
        s->peer.refused = true;
        if (s->peer.news)
            s->peer.news(&s->peer);
        return;
    }
    if (listener_full(l)) {
        sim_at(sim, sim->now + NS_PER_S, client_arrived, s, 0);
        return;
    }
    end = sim_end_new(sim, SIM_STREAM);
    join(sim, s->peer.end, end);
    listener_offer(l, end, &s->peer.to, &s->peer.from);
    s->peer.connected = true;
    s->peer.connected_at = sim->now;
    if (s->peer.news)
        s->peer.news(&s->peer);
    speak(sim, s);
}

void sim_codec(struct sim *sim, const struct sim_codec *codec)
{
    sim->codec = codec;
}

struct sim_peer *sim_connect(struct sim *sim, const struct address *to, const struct address *from)
{
    struct sim_speaker *s = speaker_new(sim);

    s->peer.from = *from;
    s->peer.to = *to;
    s->peer.codec = sim->codec;
    sim_at(sim, sim->now + latency(sim), client_arrived, s, 0);
    return &s->peer;
}

/* --- scripts: hearing ------------------------------------------------------------------------ */

static void text_room(struct sim_peer *p, size_t len)
{
    if (p->len + len <= p->room)
        return;
    p->room = (p->len + len) * 2;
    p->text = realloc(p->text, p->room);
    assert(p->text);
}

static void heard_coded(struct sim_peer *p, const char *bytes, size_t len)
{
    size_t used, plain, at = 0;

    p->raw = realloc(p->raw, p->raw_len + len);
    assert(p->raw);
    memcpy(p->raw + p->raw_len, bytes, len);
    p->raw_len += len;
    text_room(p, p->raw_len);
    while ((used = p->codec->hear((struct span){p->raw + at, p->raw_len - at}, p->text + p->len,
                                  &plain)) > 0) {
        at += used;
        p->len += plain;
    }
    p->raw_len -= at;
    memmove(p->raw, p->raw + at, p->raw_len);
}

static void heard(struct sim_speaker *s, size_t len)
{
    struct sim_peer *p = &s->peer;
    struct sim_end *end = p->end;

    if (p->codec) {
        heard_coded(p, end->in + end->from, len);
    } else {
        text_room(p, len);
        memcpy(p->text + p->len, end->in + end->from, len);
        p->len += len;
    }
    p->heard_at = p->sim->now;
    sim_note(p->sim, sim_hash(len, end->in + end->from, len));
    sim_consume(p->sim, end, len);
}

static void hear_more(struct sim *sim, void *data, uint64_t value)
{
    struct sim_speaker *s = data;

    (void)value;
    s->reading = true;
    if (!s->peer.closed)
        hear(sim, s->peer.end);
}

static void hear(struct sim *sim, struct sim_end *end)
{
    struct sim_speaker *s = (struct sim_speaker *)end->peer;
    struct sim_peer *p = &s->peer;
    bool news = false;

    while (end->here > end->from && s->reading && s->read_most > 0) {
        size_t n = end->here - end->from;
        if (n > s->read_most)
            n = s->read_most;
        heard(s, n);
        news = true;
        if (s->read_every) {
            s->reading = false;
            sim_at(sim, sim->now + s->read_every, hear_more, s, 0);
        }
    }
    if (end->fin && end->here == end->from && !p->ended) {
        p->ended = news = true;
        p->ended_at = sim->now;
    }
    if (end->reset && !p->reset) {
        p->reset = news = true;
        if (!p->ended)
            p->ended_at = sim->now;
    }
    if (news && p->news && !p->closed)
        p->news(p);
}

/* What has arrived is not yet read, and what is not read a reset can destroy. */
static void hear_soon(struct sim *sim, struct sim_end *end)
{
    struct sim_speaker *s = (struct sim_speaker *)end->peer;

    if (s->reading && s->read_most && sim_chance(sim, SIM_RACES, 4)) {
        s->reading = false;
        sim_at(sim, sim->now + random_below(&sim->random, sim->latency_ns * 2), hear_more, s, 0);
    }
    hear(sim, end);
}

uint64_t sim_taken(const struct sim_peer *peer)
{
    return peer->end->other ? peer->end->other->taken : 0;
}

void sim_window(struct sim_peer *peer, uint32_t bytes)
{
    peer->end->window = bytes;
}

void sim_read(struct sim_peer *peer, uint32_t most, uint64_t every_ns)
{
    struct sim_speaker *s = (struct sim_speaker *)peer;

    s->read_most = most;
    s->read_every = every_ns;
    if (most && s->reading && !peer->closed)
        sim_at(peer->sim, peer->sim->now, hear_more, s, 0);
}

/* --- scripts: speaking ---------------------------------------------------------------------------
 */

enum saying { SAY, PAUSE, FINISH, CLOSE, RESET };

struct sim_script {
    struct sim_script *next;
    enum saying saying;
    size_t at, len, piece;
    uint64_t gap_ns;
    char bytes[];
};

static void script_add(struct sim_peer *peer, enum saying saying, struct span bytes, size_t piece,
                       uint64_t gap_ns)
{
    struct sim_speaker *s = (struct sim_speaker *)peer;
    struct sim_script *add = sim_alloc(sizeof *add + bytes.len);

    *add =
        (struct sim_script){.saying = saying, .len = bytes.len, .piece = piece, .gap_ns = gap_ns};
    if (bytes.len)
        memcpy(add->bytes, bytes.ptr, bytes.len);
    *s->script_end = add;
    s->script_end = &add->next;
    if (peer->connected)
        speak(peer->sim, s);
}

static void script_next(struct sim_speaker *s)
{
    struct sim_script *done = s->script;

    if (!(s->script = done->next))
        s->script_end = &s->script;
    free(done);
}

static void peer_gone(struct sim_peer *p, bool reset)
{
    struct sim_speaker *s = (struct sim_speaker *)p;

    while (s->script)
        script_next(s);
    if (p->closed)
        return;
    p->closed = true;
    if (p->connected)
        sim_stream_close(p->sim, p->end, reset);
}

/* Says one thing, or a piece of it. */
static void speak_now(struct sim *sim, void *data, uint64_t value)
{
    struct sim_speaker *s = data;
    struct sim_script *script = s->script;
    struct sim_end *end = s->peer.end;
    uint64_t wait = 0;
    size_t n, room;

    (void)value;
    s->speaking = false;
    if (!script || s->peer.closed)
        return;
    switch (script->saying) {
    case SAY:
        room = sim_window_free(end);
        n = script->len - script->at;
        if (n > script->piece)
            n = script->piece;
        if (n > room)
            n = room;
        if (n == 0 && script->len)
            return; /* goes on when the program has read */
        if (n > 1 && script->gap_ns == 0 && sim_chance(sim, SIM_SHORT, 3))
            n = 1 + (size_t)random_below(&sim->random, n);
        if (!end->reset && !end->shut && n)
            sim_transmit(sim, end, script->bytes + script->at, n);
        wait = script->gap_ns; /* less of it for less than a piece */
        if (n < script->piece && script->piece <= script->len)
            wait = wait / script->piece * n;
        script->at += n;
        if (script->at == script->len)
            script_next(s);
        break;
    case PAUSE:
        wait = script->gap_ns;
        script_next(s);
        break;
    case FINISH:
        script_next(s);
        if (!end->reset)
            sim_fin(sim, end);
        break;
    case CLOSE:
    case RESET:
        peer_gone(&s->peer, script->saying == RESET);
        return;
    }
    if (!s->script)
        return;
    s->speaking = true;
    sim_at(sim, sim->now + wait, speak_now, s, 0);
}

/* Not at once: a script may be told several things before it begins. */
static void speak(struct sim *sim, struct sim_speaker *s)
{
    if (s->speaking || !s->script || !s->peer.connected)
        return;
    s->speaking = true;
    sim_at(sim, sim->now + random_below(&sim->random, 2000), speak_now, s, 0);
}

static void say(struct sim_peer *peer, struct span bytes, bool end, size_t piece, uint64_t gap_ns)
{
    size_t len;

    if (!peer->codec) {
        if (!end)
            script_add(peer, SAY, bytes, piece, gap_ns);
        return;
    }
    char *coded = peer->codec->say(bytes, !peer->said, end, &len);
    peer->said = true;
    script_add(peer, SAY, (struct span){coded, len}, piece, gap_ns);
    free(coded);
}

void sim_say(struct sim_peer *peer, struct span bytes)
{
    say(peer, bytes, false, SIZE_MAX, 0);
}

void sim_say_slowly(struct sim_peer *peer, struct span bytes, size_t piece, uint64_t gap_ns)
{
    say(peer, bytes, false, piece, gap_ns);
}

void sim_pause(struct sim_peer *peer, uint64_t ns)
{
    script_add(peer, PAUSE, (struct span){0}, 0, ns);
}

void sim_finish(struct sim_peer *peer)
{
    say(peer, (struct span){0}, true, SIZE_MAX, 0);
    script_add(peer, FINISH, (struct span){0}, 0, 0);
}

void sim_close(struct sim_peer *peer)
{
    say(peer, (struct span){0}, true, SIZE_MAX, 0);
    script_add(peer, CLOSE, (struct span){0}, 0, 0);
}

void sim_then_reset(struct sim_peer *peer)
{
    script_add(peer, RESET, (struct span){0}, 0, 0);
}

void sim_reset(struct sim_peer *peer)
{
    peer_gone(peer, true);
}

void sim_speakers_free(struct sim *sim)
{
    struct sim_speaker *next;

    for (struct sim_speaker *s = sim->speakers; s; s = next) {
        next = s->next;
        while (s->script)
            script_next(s);
        free(s->peer.text);
        free(s->peer.raw);
        free(s);
    }
}
