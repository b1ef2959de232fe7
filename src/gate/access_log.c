/* The access log; see access_log.h. */
#include "gate/access_log.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/descriptor.h"

enum { HALF = 128 * 1024 };

#define SAY_EVERY_NS (10 * NS_PER_S)

struct access_log {
    struct owner owner;
    struct worker *worker;
    struct io_timer timer;
    struct io_file write;
    struct span path; /* own copy */
    enum log_format format;
    int fd;      /* -1: off */
    int fd_next; /* after a reopen: takes over when the write is home */
    bool reopened, closing;
    bool off;               /* by a reload: what is there goes out, and no more comes */
    bool due;               /* the oldest line has waited a second */
    unsigned filling;       /* which half */
    uint32_t used;          /* of the half that is being filled */
    uint64_t dropped, lost; /* lines that found no room, that no disk took; since it was said */
    int lost_why;
    uint64_t say_at; /* not before */
    char *halves[2];
};

/* --- writing out ------------------------------------------------------------------- */

static void log_flush(struct access_log *log)
{
    if (io_busy(&log->write.op) || log->used == 0)
        return;
    log->write.call = IO_FILE_WRITE;
    log->write.fd = log->fd;
    log->write.base = log->halves[log->filling];
    log->write.len = log->used;
    log->write.offset = IO_OFFSET_END;
    log->filling ^= 1;
    log->used = 0;
    log->due = false;
    io_timer_clear(log->worker->io, &log->timer);
    io_file(log->worker->io, &log->write);
}

static void log_switch(struct access_log *log)
{
    if (!log->reopened || io_busy(&log->write.op))
        return;
    log->reopened = false;
    descriptor_close(log->fd);
    log->fd = log->fd_next;
}

static void log_write_failed(struct access_log *log)
{
    const char *at = log->write.base;
    uint64_t lines = 0;

    for (uint32_t i = 0; i < log->write.len; i++)
        lines += at[i] == '\n';
    io_count(&log->worker->stats.log_dropped, lines);
    log->lost += lines;
    log->lost_why = log->write.op.fail;
}

/* A full disk stays full for a while, a slow one slow: said now and then, and at the end. */
static void log_say_losses(struct access_log *log, bool last)
{
    uint64_t now = io_now(log->worker->io);

    if ((log->lost == 0 && log->dropped == 0) || (now < log->say_at && !last))
        return;
    log->say_at = now + SAY_EVERY_NS;
    if (log->lost > 0)
        log_say(LOG_ERROR, "access_log %.*s: %s, lines lost: %llu", SPAN_ARG(log->path),
                fail_text(log->lost_why), (unsigned long long)log->lost);
    if (log->dropped > 0)
        log_say(LOG_WARNING, "access_log %.*s: too slow, lines dropped: %llu", SPAN_ARG(log->path),
                (unsigned long long)log->dropped);
    log->lost = log->dropped = 0;
}

static void access_log_step(struct owner *owner)
{
    struct access_log *log = container_of(owner, struct access_log, owner);
    struct worker *w = log->worker;

    if (io_take(&log->write.op) && log->write.op.fail)
        log_write_failed(log);
    log_switch(log);
    /* Remembered, for a write may be under way: nothing else would come back to it. */
    if (io_timer_take(&log->timer))
        log->due = true;
    if (log->due || log->used >= HALF / 2 || log->closing)
        log_flush(log);
    if (!io_busy(&log->write.op))
        log_say_losses(log, false);
    if (log->closing)
        worker_check_done(w);
}

/* --- coming and going ------------------------------------------------------------------ */

static int log_descriptor(struct span path, int *fd)
{
    char text[4096];

    if (span_equal(path, SPAN("stdout")))
        return descriptor_copy(1, fd);
    if (span_equal(path, SPAN("stderr")))
        return descriptor_copy(2, fd);
    if (path.len >= sizeof text)
        return FAIL_BAD;
    memcpy(text, path.ptr, path.len);
    text[path.len] = '\0';
    return descriptor_append(text, fd);
}

static void log_free(struct access_log *log)
{
    descriptor_close(log->fd);
    if (log->reopened)
        descriptor_close(log->fd_next);
    mem_free((char *)(uintptr_t)log->path.ptr);
    mem_free(log->halves[0]);
    mem_free(log->halves[1]);
    mem_free(log);
}

int access_log_open(struct worker *w, const struct log_target *target)
{
    struct access_log *log;
    int err = FAIL_MEMORY;

    if (target->off)
        return 0;
    if (!(log = mem_zalloc(sizeof *log)))
        return FAIL_MEMORY;
    log->worker = w;
    log->fd = -1;
    log->format = target->format;
    owner_init(&log->owner, &w->io->owners, access_log_step);
    log->timer.owner = &log->owner;
    log->timer.at = TIME_NEVER;
    log->write.op.owner = &log->owner;
    char *path = mem_alloc(target->path.len);
    log->path = (struct span){path, target->path.len};
    log->halves[0] = mem_alloc(HALF);
    log->halves[1] = mem_alloc(HALF);
    if (path && log->halves[0] && log->halves[1]) {
        memcpy(path, target->path.ptr, target->path.len);
        err = log_descriptor(log->path, &log->fd);
        if (err < 0)
            log_say(LOG_ERROR, "access_log %.*s: %s", SPAN_ARG(log->path), fail_text(err));
    }
    if (err < 0) {
        log_free(log);
        return err;
    }
    w->log = log;
    return 0;
}

/* False: that was said, and the file that is open stays in use. */
static bool log_move(struct access_log *log, struct span path)
{
    int fd, err;

    log_flush(log); /* what was said before belongs to the old file */
    if ((err = log_descriptor(path, &fd)) < 0) {
        log_say(LOG_ERROR, "access_log %.*s: %s, the old file stays in use", SPAN_ARG(path),
                fail_text(err));
        return false;
    }
    if (log->reopened)
        descriptor_close(log->fd_next);
    log->reopened = true;
    log->fd_next = fd;
    owner_wake(&log->owner);
    return true;
}

void access_log_reopen(struct worker *w)
{
    if (w->log)
        (void)log_move(w->log, w->log->path);
}

/* Only a file that could be opened is its file: else the next reload finds nothing to do. */
static bool log_rename(struct access_log *log, struct span to)
{
    char *path = mem_alloc(to.len);

    if (!path || !log_move(log, to)) {
        mem_free(path);
        return false;
    }
    memcpy(path, to.ptr, to.len);
    mem_free((char *)(uintptr_t)log->path.ptr);
    log->path = (struct span){path, to.len};
    return true;
}

void access_log_adopt(struct worker *w, const struct log_target *target)
{
    struct access_log *log = w->log;

    if (!log) {
        if (access_log_open(w, target) < 0)
            log_say(LOG_ERROR, "access_log: stays off");
        return;
    }
    if (target->off) { /* nothing more is added; what is there goes out at its time */
        log->off = true;
        return;
    }
    if (!span_equal(log->path, target->path) && !log_rename(log, target->path)) {
        if (log->off)
            log_say(LOG_ERROR, "access_log: stays off");
        return;
    }
    log->off = false;
    log->format = target->format;
}

bool access_log_close(struct worker *w)
{
    struct access_log *log = w->log;

    if (!log)
        return true;
    log->closing = true;
    if (io_take(&log->write.op) && log->write.op.fail)
        log_write_failed(log);
    log_switch(log);
    log_flush(log);
    if (io_busy(&log->write.op))
        return false;
    log_say_losses(log, true);
    io_timer_clear(w->io, &log->timer);
    owner_retire(&log->owner);
    w->log = NULL;
    log_free(log);
    return true;
}

/* --- a line ---------------------------------------------------------------------------- */

/* Where a line is put together; `full` once something did not fit. */
struct line_writer {
    char *at, *end;
    bool full;
};

static void line_put(struct line_writer *l, struct span s)
{
    if ((size_t)(l->end - l->at) < s.len) {
        l->full = true;
        return;
    }
    if (s.len)
        memcpy(l->at, s.ptr, s.len);
    l->at += s.len;
}

static void line_number(struct line_writer *l, uint64_t n)
{
    char digits[20];
    size_t i = sizeof digits;

    do
        digits[--i] = (char)('0' + n % 10);
    while (n /= 10);
    line_put(l, (struct span){digits + i, sizeof digits - i});
}

/* Inside quotes: a peer's bytes can neither end them nor forge a line. */
static void line_escaped(struct line_writer *l, struct span s, bool json)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < s.len && !l->full; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        if (c == '"' || c == '\\')
            line_put(l, (struct span){(char[]){'\\', (char)c}, 2});
        else if (c >= 0x20 && c < 0x7f)
            line_put(l, (struct span){s.ptr + i, 1});
        else if (json)
            line_put(l, (struct span){escape, 6});
        else
            line_put(l, (struct span){(char[]){'\\', 'x', escape[4], escape[5]}, 4});
    }
}

static void json_text(struct line_writer *l, struct span key, struct span value)
{
    line_put(l, key);
    line_put(l, SPAN("\""));
    line_escaped(l, value, true);
    line_put(l, SPAN("\""));
}

static void json_number(struct line_writer *l, struct span key, uint64_t n)
{
    line_put(l, key);
    line_number(l, n);
}

/* Microseconds between two moments of an exchange; nothing if one did not come. */
static void json_phase(struct line_writer *l, struct span key, uint64_t from, uint64_t to)
{
    if (from == 0 || to < from)
        return;
    json_number(l, key, (to - from) / NS_PER_US);
}

static struct span version_text(enum http_version v)
{
    return v == HTTP_1_0 ? SPAN("HTTP/1.0") : v == HTTP_2 ? SPAN("HTTP/2.0") : SPAN("HTTP/1.1");
}

static void line_json(struct line_writer *l, struct exchange *x, uint64_t wall_ns, uint64_t now_ns)
{
    const struct exchange_times *t = &x->times;
    char iso[CLOCK_ISO_LEN], ip[ADDRESS_TEXT_MAX];

    clock_iso(iso, wall_ns);
    json_text(l, SPAN("{\"time\":"), (struct span){iso, sizeof iso});
    struct span id = exchange_request_id(x);
    if (id.len)
        json_text(l, SPAN(",\"id\":"), id);
    json_text(l, SPAN(",\"client_ip\":"), (struct span){ip, address_print_ip(&x->client, ip)});
    json_text(l, SPAN(",\"listener\":"), x->listener->name);
    if (x->route)
        json_text(l, SPAN(",\"route\":"), x->route->name);
    json_text(l, SPAN(",\"method\":"), x->request.method_name);
    json_text(l, SPAN(",\"host\":"), x->host);
    json_text(l, SPAN(",\"target\":"), x->request.target_text);
    json_text(l, SPAN(",\"protocol\":"), version_text(x->request.version));
    json_number(l, SPAN(",\"status\":"), (uint64_t)x->response.status);
    json_number(l, SPAN(",\"bytes_in\":"), x->bytes_in);
    json_number(l, SPAN(",\"bytes_out\":"), x->bytes_out);
    if (x->cause)
        json_text(l, SPAN(",\"cause\":"), cause_row(x->cause)->name);
    if (x->upstream.len) {
        json_text(l, SPAN(",\"upstream\":"), x->upstream);
        if (x->server.len) /* it got as far as one */
            json_text(l, SPAN(",\"server\":"), x->server);
        json_number(l, SPAN(",\"tries\":"), x->tries);
    }
    json_phase(l, SPAN(",\"us_head\":"), t->begun, t->head);
    if (x->upstream.len)
        json_number(l, SPAN(",\"us_queue\":"), t->queued / NS_PER_US);
    json_phase(l, SPAN(",\"us_connect\":"), t->tried, t->connected);
    json_phase(l, SPAN(",\"us_first_byte\":"), t->head, t->first_byte);
    json_phase(l, SPAN(",\"us_total\":"), t->begun, now_ns);
    line_put(l, SPAN("}\n"));
}

static void line_field(struct line_writer *l, const struct exchange *x, enum field_id id)
{
    const struct field *f = fields_get(&x->request.fields, id);

    line_put(l, SPAN(" \""));
    line_escaped(l, f ? f->value : SPAN("-"), false);
    line_put(l, SPAN("\""));
}

/* As its first line was; without a head nothing is known of it. */
static void line_request(struct line_writer *l, const struct exchange *x)
{
    if (x->request.method_name.len == 0) {
        line_put(l, SPAN("-"));
        return;
    }
    line_escaped(l, x->request.method_name, false);
    line_put(l, SPAN(" "));
    line_escaped(l, x->request.target_text, false);
    line_put(l, SPAN(" "));
    line_put(l, version_text(x->request.version));
}

static void line_common(struct line_writer *l, struct exchange *x, uint64_t wall_ns, bool combined)
{
    char clf[CLOCK_CLF_LEN], ip[ADDRESS_TEXT_MAX];

    clock_clf(clf, (int64_t)(wall_ns / NS_PER_S));
    line_put(l, (struct span){ip, address_print_ip(&x->client, ip)});
    line_put(l, SPAN(" - - ["));
    line_put(l, (struct span){clf, sizeof clf});
    line_put(l, SPAN("] \""));
    line_request(l, x);
    line_put(l, SPAN("\" "));
    line_number(l, (uint64_t)x->response.status);
    line_put(l, SPAN(" "));
    line_number(l, x->bytes_out);
    if (combined) {
        line_field(l, x, FIELD_REFERER);
        line_field(l, x, FIELD_USER_AGENT);
    }
    line_put(l, SPAN("\n"));
}

size_t access_log_line(char *at, size_t room, enum log_format format, struct exchange *x,
                       uint64_t wall_ns, uint64_t now_ns)
{
    struct line_writer l = {at, at + room, false};

    if (format == LOG_JSON)
        line_json(&l, x, wall_ns, now_ns);
    else
        line_common(&l, x, wall_ns, format == LOG_COMBINED);
    return l.full ? 0 : (size_t)(l.at - at);
}

void access_log_exchange(struct worker *w, struct exchange *x)
{
    struct access_log *log = w->log;

    if (!log || log->off || (x->route && !x->route->log))
        return;
    size_t n = access_log_line(log->halves[log->filling] + log->used, HALF - log->used, log->format,
                               x, io_wall(w->io), io_now(w->io));
    if (n == 0) {
        log->dropped++;
        worker_counted(&w->stats.log_dropped);
        owner_wake(&log->owner);
        return;
    }
    if (log->used == 0)
        io_timer_set(w->io, &log->timer, io_now(w->io) + NS_PER_S);
    log->used += (uint32_t)n;
    if (log->used >= HALF / 2)
        owner_wake(&log->owner);
}
