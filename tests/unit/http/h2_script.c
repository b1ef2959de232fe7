/* An HTTP/2 session played from a line of text; see h2_script.h. */
#include "tests/unit/http/h2_script.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const struct h2_limits play_limits = {
    .streams_max = 4,
    .window = 65536,
    .header_max = 4096,
    .fields_max = 20,
    .resets = {.amount = 20, .per_ns = 10000},
    .control = {.amount = 100, .per_ns = 10000},
};

static const char *const error_names[] = {
    "NO_ERROR",         "PROTOCOL_ERROR",    "INTERNAL_ERROR",   "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT", "STREAM_CLOSED",     "FRAME_SIZE_ERROR", "REFUSED_STREAM",
    "CANCEL",           "COMPRESSION_ERROR", "CONNECT_ERROR",    "ENHANCE_YOUR_CALM",
    "INADEQUATE",       "HTTP_1_1_REQUIRED",
};

static const char *error_name(uint32_t code)
{
    return code < COUNT_OF(error_names) ? error_names[code] : "unknown";
}

/* --- writing down --------------------------------------------------------------------- */

PRINTF_LIKE(2, 3)
static void put_down(struct play *p, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(p->text + p->text_len, PLAY_MAX - p->text_len, format, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < PLAY_MAX - p->text_len);
    p->text_len += (size_t)n;
}

static void note(struct play *p, const char *format, ...) PRINTF_LIKE(2, 3);

/* Content that came in pieces is written down as one. */
static void content_down(struct play *p)
{
    uint32_t n = p->content;

    p->content = 0;
    if (n)
        note(p, "content %u %u", p->content_id, n);
}

static void note(struct play *p, const char *format, ...)
{
    char line[512];
    va_list args;

    content_down(p);
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    put_down(p, "%s%s", p->text_len ? "; " : "", line);
}

/* --- bytes of frames -------------------------------------------------------------------- */

struct writer {
    char *at;
    size_t len, room;
};

static void put(struct writer *w, const void *bytes, size_t n)
{
    ck_assert_uint_le(n, w->room - w->len);
    if (n)
        memcpy(w->at + w->len, bytes, n);
    w->len += n;
}

static void put_byte(struct writer *w, unsigned byte)
{
    char c = (char)byte;

    put(w, &c, 1);
}

static void put_number(struct writer *w, uint32_t n)
{
    char bytes[4];

    h2_put32(bytes, n);
    put(w, bytes, 4);
}

static void put_frame(struct writer *w, size_t len, unsigned type, unsigned flags, uint32_t id)
{
    char head[H2_FRAME_HEAD];

    h2_frame_write(head, (struct h2_frame){(uint32_t)len, id, (uint8_t)type, (uint8_t)flags});
    put(w, head, sizeof head);
}

static void put_hex(struct writer *w, const char *hex)
{
    unsigned byte;

    for (; hex && hex[0] && hex[1]; hex += 2) {
        ck_assert_int_eq(sscanf(hex, "%2x", &byte), 1);
        put_byte(w, byte);
    }
}

/* RFC 7541, 5.1 and 5.2: a string as it is. */
static void put_string(struct writer *w, const char *text, size_t len)
{
    if (len < 127) {
        put_byte(w, (unsigned)len);
    } else {
        size_t rest = len - 127;
        put_byte(w, 127);
        for (; rest >= 128; rest /= 128)
            put_byte(w, 128 | (unsigned)(rest & 127));
        put_byte(w, (unsigned)rest);
    }
    put(w, text, len);
}

/* "name=value" without indexing; '_' in it is a space, "\n" etc. are themselves. */
static void put_field(struct writer *w, const char *word)
{
    const char *equals = strchr(*word == '=' ? word : word + 1, '=');
    char value[4096];
    size_t len = strlen(equals + 1);

    ck_assert_uint_lt(len, sizeof value);
    for (size_t i = 0; i < len; i++)
        value[i] = equals[1 + i];
    for (size_t i = 0; i < len; i++)
        if (value[i] == '_')
            value[i] = ' ';
    put_byte(w, 0);
    put_string(w, word, (size_t)(equals - word));
    put_string(w, value, len);
}

struct words {
    char *word[40];
    unsigned count;
};

static uint32_t number(const struct words *w, unsigned i)
{
    return i < w->count ? (uint32_t)strtoul(w->word[i], NULL, 0) : 0;
}

static bool has(const struct words *w, const char *word, const char **value)
{
    size_t len = strlen(word);

    for (unsigned i = 2; i < w->count; i++)
        if (strncmp(w->word[i], word, len) == 0 && (word[len - 1] == '=' || !w->word[i][len])) {
            if (value)
                *value = w->word[i] + len;
            return true;
        }
    return false;
}

static void put_section(struct writer *w, const struct words *words, bool first)
{
    static const char *const get[] = {":method=GET", ":scheme=http", ":path=/", ":authority=a"};
    bool any = has(words, "none", NULL);

    for (unsigned i = 2; i < words->count; i++) {
        const char *word = words->word[i];
        if (!strchr(word, '=') || strncmp(word, "pad=", 4) == 0 || strncmp(word, "prio=", 5) == 0)
            continue;
        any = true;
        if (strncmp(word, "+get", 4) != 0) {
            put_field(w, word);
            continue;
        }
        for (size_t g = 0; g < COUNT_OF(get); g++)
            put_field(w, get[g]);
    }
    for (size_t g = 0; first && !any && g < COUNT_OF(get); g++)
        put_field(w, get[g]);
}

static void put_headers(struct writer *w, const struct words *words, unsigned type)
{
    char block[16384];
    struct writer b = {.at = block, .room = sizeof block};
    const char *value;
    unsigned flags = has(words, "open", NULL) ? 0 : H2_FLAG_END_HEADERS, padding = 0;

    if (has(words, "end", NULL))
        flags |= H2_FLAG_END_STREAM;
    if (has(words, "pad=", &value)) {
        flags |= H2_FLAG_PADDED;
        padding = (unsigned)atoi(value);
        put_byte(&b, padding);
    }
    if (has(words, "prio=", &value)) {
        flags |= H2_FLAG_PRIORITY;
        put_number(&b, (uint32_t)atoi(value));
        put_byte(&b, 15);
    }
    put_section(&b, words, type == H2_HEADERS);
    for (unsigned i = 0; i < padding; i++)
        put_byte(&b, 0);
    put_frame(w, b.len, type, flags, number(words, 1));
    put(w, block, b.len);
}

static void put_data(struct writer *w, const struct words *words)
{
    uint32_t len = number(words, 2);
    const char *value;
    unsigned flags = has(words, "end", NULL) ? H2_FLAG_END_STREAM : 0, padding = 0;
    bool padded = has(words, "pad=", &value);

    if (padded) {
        flags |= H2_FLAG_PADDED;
        padding = (unsigned)atoi(value);
    }
    put_frame(w, len + padding + padded, H2_DATA, flags, number(words, 1));
    if (padded)
        put_byte(w, padding);
    for (uint32_t i = 0; i < len; i++)
        put_byte(w, 'x');
    for (unsigned i = 0; i < padding; i++)
        put_byte(w, 0);
}

static void put_settings(struct writer *w, const struct words *words)
{
    put_frame(w, 6 * (words->count - 1), H2_SETTINGS, 0, 0);
    for (unsigned i = 1; i < words->count; i++) {
        unsigned id = 0, value = 0;
        ck_assert_int_eq(sscanf(words->word[i], "%u=%u", &id, &value), 2);
        put_byte(w, id >> 8);
        put_byte(w, id & 255);
        put_number(w, value);
    }
}

static void put_eight(struct writer *w, const struct words *words, unsigned flags)
{
    char payload[8] = {0};

    memcpy(payload, words->word[1], strnlen(words->word[1], sizeof payload));
    put_frame(w, 8, H2_PING, flags, 0);
    put(w, payload, 8);
}

static void put_small(struct writer *w, const struct words *words)
{
    const char *verb = words->word[0];

    if (strcmp(verb, "rst") == 0) {
        put_frame(w, 4, H2_RST_STREAM, 0, number(words, 1));
        put_number(w, number(words, 2));
    } else if (strcmp(verb, "window") == 0) {
        put_frame(w, 4, H2_WINDOW_UPDATE, 0, number(words, 1));
        put_number(w, number(words, 2));
    } else if (strcmp(verb, "goaway") == 0) {
        put_frame(w, 8, H2_GOAWAY, 0, 0);
        put_number(w, number(words, 1));
        put_number(w, number(words, 2));
    } else if (strcmp(verb, "priority") == 0) {
        put_frame(w, 5, H2_PRIORITY, 0, number(words, 1));
        put_number(w, number(words, 2));
        put_byte(w, 15);
    } else if (strcmp(verb, "update") == 0) {
        size_t len = words->count > 2 ? strlen(words->word[2]) : 0;
        put_frame(w, 4 + len, H2_PRIORITY_UPDATE, 0, 0);
        put_number(w, number(words, 1));
        put(w, words->word[2], len);
    } else {
        ck_abort_msg("no such word: %s", verb);
    }
}

static void put_words(struct writer *w, const struct words *words)
{
    const char *verb = words->word[0];

    if (strcmp(verb, "headers") == 0)
        put_headers(w, words, H2_HEADERS);
    else if (strcmp(verb, "more") == 0)
        put_headers(w, words, H2_CONTINUATION);
    else if (strcmp(verb, "data") == 0)
        put_data(w, words);
    else if (strcmp(verb, "settings") == 0)
        put_settings(w, words);
    else if (strcmp(verb, "ack") == 0)
        put_frame(w, 0, H2_SETTINGS, H2_FLAG_ACK, 0);
    else if (strcmp(verb, "ping") == 0)
        put_eight(w, words, 0);
    else if (strcmp(verb, "pong") == 0)
        put_eight(w, words, H2_FLAG_ACK);
    else if (strcmp(verb, "raw") == 0)
        put_hex(w, words->word[1]);
    else if (strcmp(verb, "hello") == 0) {
        put(w, H2_PREFACE_TEXT.ptr, H2_PREFACE);
        put_frame(w, 0, H2_SETTINGS, 0, 0);
    } else if (strcmp(verb, "frame") == 0) {
        const char *hex = words->count > 4 ? words->word[4] : "";
        put_frame(w, strlen(hex) / 2, number(words, 1), number(words, 2), number(words, 3));
        put_hex(w, hex);
    } else {
        put_small(w, words);
    }
}

static struct words split(char *line)
{
    struct words w = {0};
    char *rest = NULL;

    for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        ck_assert_uint_lt(w.count, COUNT_OF(w.word));
        w.word[w.count++] = word;
    }
    return w;
}

size_t script_bytes(const char *script, char *out, size_t room)
{
    struct writer w = {.at = out, .room = room};
    char *copy = strdup(script), *rest = NULL;

    for (char *line = strtok_r(copy, ";", &rest); line; line = strtok_r(NULL, ";", &rest)) {
        struct words words = split(line);
        if (words.count)
            put_words(&w, &words);
    }
    free(copy);
    return w.len;
}

/* --- what the session sends ---------------------------------------------------------------- */

static void note_section(struct play *p, const char *name, const struct h2_frame *f,
                         struct span block)
{
    char fields[400] = "";
    size_t len = 0;
    struct span key, value;

    while (hpack_inflate(&p->peer, &block, f->flags & H2_FLAG_END_HEADERS, &key, &value) ==
           HPACK_FIELD)
        if (len < 300)
            len += (size_t)snprintf(fields + len, sizeof fields - len, " %.*s=%.*s", SPAN_ARG(key),
                                    SPAN_ARG(value));
    note(p, "%s %u%s%s", name, f->stream, fields,
         name[0] == 'H' && (f->flags & H2_FLAG_END_STREAM) ? " END" : "");
}

static void note_frame(struct play *p, const struct h2_frame *f, const char *payload)
{
    switch (f->type) {
    case H2_DATA:
        note(p, "DATA %u %u%s", f->stream, f->len, f->flags & H2_FLAG_END_STREAM ? " END" : "");
        break;
    case H2_HEADERS:
        note_section(p, "HEADERS", f, (struct span){payload, f->len});
        break;
    case H2_CONTINUATION:
        note_section(p, "MORE", f, (struct span){payload, f->len});
        break;
    case H2_RST_STREAM:
        note(p, "RST %u %s", f->stream, error_name(h2_get32(payload)));
        break;
    case H2_SETTINGS:
        note(p, f->flags & H2_FLAG_ACK ? "ACK" : "SETTINGS");
        break;
    case H2_PING:
        note(p, "%s %.8s", f->flags & H2_FLAG_ACK ? "PONG" : "PING", payload);
        break;
    case H2_GOAWAY:
        note(p, "GOAWAY %u %s", h2_get32(payload), error_name(h2_get32(payload + 4)));
        break;
    case H2_WINDOW_UPDATE:
        note(p, "WINDOW %u %u", f->stream, h2_get32(payload));
        break;
    default:
        ck_abort_msg("a frame nobody sends");
    }
}

static void drain_out(struct play *p)
{
    struct span out = h2_out(&p->session);

    while (out.len > 0) {
        ck_assert_uint_ge(out.len, H2_FRAME_HEAD);
        struct h2_frame f = h2_frame_read(out.ptr);
        note_frame(p, &f, out.ptr + H2_FRAME_HEAD);
        size_t n = H2_FRAME_HEAD + (f.type == H2_DATA ? 0 : f.len);
        ck_assert_uint_le(n, out.len);
        h2_sent(&p->session, n);
        out = h2_out(&p->session);
    }
}

/* --- events ---------------------------------------------------------------------------------- */

static struct h2_stream *stream_of(struct play *p, uint32_t id)
{
    for (unsigned i = p->stream_count; i-- > 0;)
        if (p->streams[i].id == id)
            return &p->streams[i];
    ck_abort_msg("no stream %u", id);
    return NULL;
}

static const char *cause_name(enum cause cause)
{
    return cause ? cause_row(cause)->name.ptr : "";
}

static void on_head(struct play *p, const struct h2_event *ev, const char *name)
{
    struct field list[20];
    struct request r = {.fields = {.list = list, .max = COUNT_OF(list)}};
    const char *end = ev->end ? " end" : "";

    if (ev->stream) {
        note(p, "%s %u %d%s", name, ev->id, p->session.head.status, end);
        return;
    }
    if (p->refusing) {
        note(p, "%s %u", name, ev->id);
        h2_refuse(&p->session, ev, H2_REFUSED_STREAM);
        return;
    }
    enum cause cause = h2_head_request(&p->session.head, ev->end, 100, &r);
    note(p, "%s %u%s%s%s", name, ev->id, end, cause ? " " : "", cause_name(cause));
    ck_assert_uint_lt(p->stream_count, PLAY_STREAMS);
    h2_accept(&p->session, &p->streams[p->stream_count++], ev);
}

static void on_content(struct play *p, const struct h2_event *ev)
{
    if (p->content && p->content_id != ev->id)
        content_down(p);
    p->content += ev->content;
    p->content_id = ev->id;
    h2_took(&p->session, ev->content);
    if (p->automatic)
        h2_credit(&p->session, ev->stream, ev->content);
}

static void on_event(struct play *p, const struct h2_event *ev)
{
    switch (ev->kind) {
    case H2_HEAD:
        on_head(p, ev, "head");
        break;
    case H2_INTERIM:
        on_head(p, ev, "interim");
        break;
    case H2_CONTENT:
        on_content(p, ev);
        break;
    case H2_TRAILS:
        note(p, "trailers %u %u", ev->id, p->session.head.fields.count);
        break;
    case H2_END:
        note(p, "end %u", ev->id);
        break;
    case H2_RESET:
        note(p, "reset %u %s %s%s", ev->id, error_name(ev->error), cause_name(ev->cause),
             ev->by_peer ? " by peer" : "");
        break;
    case H2_PRIORITISED:
        note(p, "priority %u u=%u%s", ev->id, ev->stream->priority.urgency,
             ev->stream->priority.incremental ? " i" : "");
        break;
    case H2_GOING:
        note(p, "going %u %s", ev->id, error_name(ev->error));
        break;
    case H2_FAILED:
        note(p, "failed %s %s", error_name(ev->error), cause_name(ev->cause));
        break;
    default:
        break;
    }
}

/* Reads a prefix of what has come. */
static void read_some(struct play *p, size_t have, size_t *from)
{
    struct h2_event ev;
    size_t used;

    do {
        h2_read(&p->session, (struct span){p->in + *from, have - *from}, p->now, &used, &ev);
        h2_check(&p->session);
        *from += used;
        if (ev.kind == H2_CONTENT) {
            ck_assert_uint_le(ev.content, have - *from);
            *from += ev.content;
        }
        on_event(p, &ev);
        drain_out(p);
    } while (ev.kind != H2_NOTHING);
}

static void read_all(struct play *p)
{
    size_t from = 0, have = 0;

    while (have < p->in_len) {
        have = p->piece && have + p->piece < p->in_len ? have + p->piece : p->in_len;
        read_some(p, have, &from);
    }
    memmove(p->in, p->in + from, p->in_len - from);
    p->in_len -= from;
    content_down(p);
}

void play_bytes(struct play *p, struct span bytes)
{
    if (p->in_room < p->in_len + bytes.len) {
        p->in_room = 2 * (p->in_len + bytes.len);
        p->in = realloc(p->in, p->in_room);
        ck_assert_ptr_nonnull(p->in);
    }
    memcpy(p->in + p->in_len, bytes.ptr, bytes.len);
    p->in_len += bytes.len;
    read_all(p);
}

/* --- what the caller does ------------------------------------------------------------------------
 */

static void caller_does(struct play *p, const struct words *w)
{
    struct h2_session *s = &p->session;
    const char *verb = w->word[0] + 1;
    bool end = has(w, "end", NULL);

    if (strcmp(verb, "respond") == 0)
        h2_respond(s, stream_of(p, number(w, 1)), (int)number(w, 2), NULL, NULL, end);
    else if (strcmp(verb, "send") == 0) {
        struct h2_stream *t = stream_of(p, number(w, 1));
        uint32_t left = number(w, 2), n;
        do {
            n = h2_take(s, t, left);
            left -= n;
            if (n > 0 || left == 0)
                h2_data(s, t, n, end && left == 0);
            drain_out(p);
        } while (n > 0 && left > 0);
    } else if (strcmp(verb, "trail") == 0) {
        struct field list[] = {{.name = SPAN_INIT("X-Sum"), .value = SPAN_INIT("1")}};
        struct fields fields = {.list = list, .count = 1};
        h2_trailers(s, stream_of(p, number(w, 1)), &fields);
    } else if (strcmp(verb, "reset") == 0)
        h2_reset(s, stream_of(p, number(w, 1)), (enum h2_error)number(w, 2));
    else if (strcmp(verb, "credit") == 0)
        h2_credit(s, number(w, 1) ? stream_of(p, number(w, 1)) : NULL, number(w, 2));
    else if (strcmp(verb, "drain") == 0)
        h2_drain(s);
    else if (strcmp(verb, "auto") == 0)
        p->automatic = true;
    else if (strcmp(verb, "refuse") == 0)
        p->refusing = true;
    else
        ck_abort_msg("no such deed: %s", verb);
    drain_out(p);
    h2_check(s);
}

void play(struct play *p, const char *script)
{
    char *copy = strdup(script), *rest = NULL;
    static char bytes[1 << 20];

    ck_assert_ptr_nonnull(copy);
    for (char *line = strtok_r(copy, ";", &rest); line; line = strtok_r(NULL, ";", &rest)) {
        struct words words = split(line);
        if (words.count == 0)
            continue;
        if (words.word[0][0] == '!') {
            caller_does(p, &words);
            continue;
        }
        struct writer w = {.at = bytes, .room = 1 << 20};
        put_words(&w, &words);
        play_bytes(p, (struct span){bytes, w.len});
    }
    free(copy);
}

void play_begin(struct play *p, const struct h2_limits *limits, size_t piece)
{
    *p = (struct play){.piece = piece, .now = 1000000};
    ck_assert_int_eq(h2_init(&p->session, limits), 0);
    ck_assert_int_eq(hpack_init(&p->peer), 0);
    drain_out(p);
}

void play_end(struct play *p)
{
    h2_free(&p->session);
    hpack_free(&p->peer);
    free(p->in);
}

void play_row(const struct play_row *row, const struct h2_limits *limits, bool bare)
{
    static const size_t pieces[] = {0, 1, 7, 100};

    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        struct play *p = malloc(sizeof *p);
        ck_assert_ptr_nonnull(p);
        bool much = strstr(row->script, "16384") != NULL;
        play_begin(p, limits, pieces[i] * (much ? 97 : 1));
        if (!bare)
            play(p, "hello; ack");
        p->text_len = 0;
        p->text[0] = '\0';
        play(p, row->script);
        if (strcmp(p->text, row->want) != 0)
            ck_abort_msg("%s, in pieces of %zu:\n  %s\n  got  %s\n  want %s", row->name, pieces[i],
                         row->script, p->text, row->want);
        play_end(p);
        free(p);
    }
}

void play_rows(const struct play_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        play_row(&rows[i], &play_limits, false);
}
