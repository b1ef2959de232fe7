/* static: serves files from disk.
 *
 * The path was decided before we see it: normal form, no way above the root.
 * The kernel is asked to hold that too (openat2, beneath the root), so that a
 * link or a rename cannot lead out between our look and our open.
 *
 * A request tries its candidates in order: the file's precompressed siblings,
 * the file, the index of a directory, the fallback.
 */
#include "modules/static/cache.h"
#include "modules/static/negotiate.h"

enum { LINKS_INSIDE, LINKS_ANY, LINKS_NONE };

struct static_conf {
    struct span root, strip_prefix, fallback;
    struct spans index;
    int links;
    bool hidden;
    struct spans precompressed;
    struct lines mime;
    uint64_t cache_size, cache_time;
    struct file_root where;
    unsigned codings[CODING_COUNT]; /* in order of preference */
    unsigned codings_count;
};

/* Of all routes: one cache serves them, as large as the largest asks for. */
struct static_module_conf {
    uint64_t cache_size;
};

/* One per worker. */
struct static_state {
    struct file_cache cache;
    bool ready;
};

struct serving {
    struct file_waiter waiter;
    struct file_entry *file;  /* held */
    struct file_entry *plain; /* the file itself, while its siblings are tried; held */
    struct span path;         /* relative to the root, of the file itself */
    unsigned tried;           /* siblings */
    unsigned index_tried;
    unsigned accepted; /* codings */
    int coding;        /* of file; -1: none */
    bool begun, fell_back, in_directory;
};

static const char *const links_words[] = {"inside", "any", "none", NULL};
static const char *const coding_words[] = {"br", "gzip", "zstd", NULL};
static const struct span coding_suffixes[] = {SPAN_INIT(".br"), SPAN_INIT(".gz"),
                                              SPAN_INIT(".zst")};

static const struct setting static_settings[] = {
    {.name = "root",
     .type = SETTING_DIR,
     .flags = SETTING_REQUIRED,
     .offset = SETTING_MEMBER(struct static_conf, root, struct span),
     .help = "The directory to serve."},
    {.name = "index",
     .type = SETTING_NAMES,
     .fallback = "index.html",
     .offset = SETTING_MEMBER(struct static_conf, index, struct spans),
     .help = "Files that stand for a directory, the first that is there."},
    {.name = "fallback",
     .type = SETTING_PATH,
     .offset = SETTING_MEMBER(struct static_conf, fallback, struct span),
     .help = "Served with 200 where the answer were 404 and the last segment has no dot."},
    {.name = "links",
     .type = SETTING_WORD,
     .words = links_words,
     .fallback = "inside",
     .offset = SETTING_MEMBER(struct static_conf, links, int),
     .help = "Symbolic links: kept below root, anywhere, or refused."},
    {.name = "hidden",
     .type = SETTING_BOOL,
     .fallback = "no",
     .offset = SETTING_MEMBER(struct static_conf, hidden, bool),
     .help = "Serve names that begin with a dot; /.well-known/ always is."},
    {.name = "precompressed",
     .type = SETTING_WORD_ORDER,
     .flags = SETTING_OFF,
     .words = coding_words,
     .fallback = "br, gzip",
     .offset = SETTING_MEMBER(struct static_conf, precompressed, struct spans),
     .help = "Compressed siblings to look for, in order of preference."},
    {.name = "mime",
     .type = SETTING_LINES,
     .offset = SETTING_MEMBER(struct static_conf, mime, struct lines),
     .help = "More types, or other ones: EXT TYPE."},
    {.name = "cache_size",
     .type = SETTING_SIZE,
     .fallback = "32m",
     .offset = SETTING_MEMBER(struct static_conf, cache_size, uint64_t),
     .help = "Memory of the process for files up to 64k; the largest of all routes counts."},
    {.name = "cache_time",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "1s",
     .offset = SETTING_MEMBER(struct static_conf, cache_time, uint64_t),
     .help = "How long what is known of a file is believed."},
    {.name = "strip_prefix",
     .type = SETTING_PATH,
     .offset = SETTING_MEMBER(struct static_conf, strip_prefix, struct span),
     .help = "Whole segments to take from the front of the path."},
    {0},
};

static void static_load(struct loading *l, void *data)
{
    struct static_conf *conf = data;
    struct static_module_conf *all = loading_module_conf(l);

    if (all->cache_size < conf->cache_size)
        all->cache_size = conf->cache_size;
    loading_check_prefix(l, "strip_prefix", conf->strip_prefix);
    loading_check_folder(l, "root", conf->root);
    for (unsigned i = 0; i < conf->mime.count; i++)
        if (conf->mime.list[i].words.count != 2) {
            loading_say_word(l, &conf->mime.list[i], conf->mime.list[i].words.count > 2 ? 2 : 0,
                             "mime",
                             "write an extension and a type: mime = webmanifest application/json");
            return;
        }
    for (unsigned i = 0; i < conf->precompressed.count && i < CODING_COUNT; i++)
        for (unsigned c = 0; c < CODING_COUNT; c++)
            if (span_equal(conf->precompressed.list[i], span_of(coding_words[c])))
                conf->codings[conf->codings_count++] = c;
    conf->where = (struct file_root){.path = conf->root, .cache_ns = conf->cache_time};
    if (conf->links == LINKS_INSIDE)
        conf->where.open_flags = IO_OPEN_BENEATH;
    if (conf->links == LINKS_NONE)
        conf->where.open_flags = IO_OPEN_BENEATH | IO_OPEN_NO_LINKS;
}

/* --- the path ------------------------------------------------------------------------------ */

/* Relative to the root; ptr NULL: there can be no such file. */
static struct span static_path(struct exchange *x, const struct static_conf *conf)
{
    struct span path = percent_decode(&x->arena, x->path.normal, false);
    struct span prefix = conf->strip_prefix;

    if (!path.ptr || x->path.has_encoded_slash)
        return (struct span){0};
    if (path.ptr == x->path.normal.ptr) /* it may be in the connection's buffer still */
        path = arena_copy(&x->arena, path);
    if (!path.ptr)
        return (struct span){0};
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    if (prefix.len > 0 && span_starts(path, prefix))
        path = span_after(path, prefix.len);
    while (path.len > 0 && path.ptr[0] == '/')
        path = span_after(path, 1);
    for (size_t i = 0; i < path.len; i++) {
        bool first = i == 0 || path.ptr[i - 1] == '/';
        if (path.ptr[i] == '\0')
            return (struct span){0};
        if (first && path.ptr[i] == '.' && !conf->hidden &&
            !(i == 0 && span_starts(path, SPAN(".well-known/"))))
            return (struct span){0};
    }
    return path.len ? path : SPAN("");
}

static bool last_segment_has_dot(struct span path)
{
    while (path.len > 0 && path.ptr[path.len - 1] != '/') {
        if (path.ptr[path.len - 1] == '.')
            return true;
        path.len--;
    }
    return false;
}

/* --- looking for it ------------------------------------------------------------------------- */

static bool static_want(struct exchange *x, const struct static_conf *conf, struct serving *s,
                        struct span path)
{
    struct static_state *state = exchange_worker_state(x);

    s->waiter.x = x;
    list_remove(&s->waiter.node);
    s->file = file_get(&state->cache, &conf->where, path, &s->waiter);
    if (!s->file)
        respond_failed(x, CAUSE_out_of_memory);
    return s->file != NULL;
}

static void static_drop(struct file_entry **held)
{
    if (*held)
        file_release(*held);
    *held = NULL;
}

static enum cause missing_cause(int fail)
{
    switch (fail) {
    case FAIL_NOT_FOUND:
    case FAIL_NOT_DIR:
    case FAIL_BAD:
        return CAUSE_not_found;
    case FAIL_IS_DIR:
    case FAIL_ACCESS:
    case FAIL_LOOP:
        return CAUSE_forbidden;
    case FAIL_MEMORY:
    case FAIL_DESCRIPTORS:
        return CAUSE_out_of_memory;
    default:
        return CAUSE_file_error;
    }
}

/* A directory asked for without its slash: relative links in it would break. */
static void static_add_slash(struct exchange *x)
{
    struct span to = arena_join(&x->arena, x->path.normal, SPAN("/"));

    if (x->request.target.has_query)
        to = arena_join(&x->arena, arena_join(&x->arena, to, SPAN("?")), x->request.target.query);
    respond_redirect(x, 308, to);
}

/* The present candidate is not there: the next, or an error. True: one is being looked for. */
static bool static_next(struct exchange *x, const struct static_conf *conf, struct serving *s)
{
    int fail = s->file->fail;

    static_drop(&s->file);
    if (fail == FAIL_IS_DIR && !s->in_directory) {
        if (x->path.normal.ptr[x->path.normal.len - 1] != '/') {
            static_add_slash(x);
            return false;
        }
        s->in_directory = true;
    }
    if (s->in_directory && s->index_tried < conf->index.count) {
        struct span name = conf->index.list[s->index_tried++];
        struct span path = arena_join(&x->arena, s->path, name);
        if (!path.ptr)
            respond_failed(x, CAUSE_out_of_memory);
        return path.ptr && static_want(x, conf, s, path);
    }
    if (conf->fallback.len > 0 && !s->fell_back && missing_cause(fail) == CAUSE_not_found &&
        !last_segment_has_dot(s->path)) {
        s->fell_back = true;
        return static_want(x, conf, s, span_after(conf->fallback, 1));
    }
    respond_failed(x,
                   s->in_directory && s->index_tried == conf->index.count && fail == FAIL_NOT_FOUND
                       ? CAUSE_not_found
                       : missing_cause(fail));
    return false;
}

/* A precompressed sibling that may be worth a look.  True: it is being looked for. */
static bool static_next_coding(struct exchange *x, const struct static_conf *conf,
                               struct serving *s)
{
    while (s->tried < conf->codings_count) {
        unsigned coding = conf->codings[s->tried++];
        if (!(s->accepted & (1u << coding)))
            continue;
        struct span path = arena_join(&x->arena, s->plain->path, coding_suffixes[coding]);
        s->coding = (int)coding;
        return path.ptr && static_want(x, conf, s, path);
    }
    return false;
}

/* --- answering -------------------------------------------------------------------------------- */

static void static_send(struct exchange *x, int status, const struct file_entry *e, uint64_t offset,
                        uint64_t len)
{
    if (e->bytes)
        respond(x, status, (struct span){e->bytes + offset, (size_t)len});
    else if (len == 0)
        respond(x, status, (struct span){0});
    else
        respond_file(x, status, e->fd, offset, len);
}

static void static_serve(struct exchange *x, const struct static_conf *conf, struct serving *s)
{
    const struct file_entry *e = s->file;
    const struct fields *asked = &x->request.fields;
    struct validator v = {{e->tag, e->tag_len}, e->stat.mtime_ns / (int64_t)NS_PER_S};
    uint64_t offset = 0, len = e->stat.size;

    response_field(x, FIELD_ETAG, v.etag);
    response_field(x, FIELD_LAST_MODIFIED, (struct span){e->modified, CLOCK_HTTP_LEN});
    if (conf->codings_count > 0)
        response_field(x, FIELD_VARY, SPAN("Accept-Encoding"));
    int status = conditions_check(asked, x->request.method, &v);
    if (status == 304) {
        respond(x, 304, (struct span){0});
        return;
    }
    if (status == 412) {
        respond_failed(x, CAUSE_precondition_failed);
        return;
    }
    response_field(x, FIELD_ACCEPT_RANGES, SPAN("bytes"));
    enum range_outcome range = x->request.method == METHOD_GET
                                   ? range_find(asked, &v, e->stat.size, &offset, &len)
                                   : RANGE_NONE;
    if (range == RANGE_UNSATISFIABLE) {
        struct span value = arena_print(&x->arena, "bytes */%llu", (unsigned long long)len);
        respond_failed_with(x, CAUSE_range_not_satisfiable, FIELD_CONTENT_RANGE, value);
        return;
    }
    response_field(x, FIELD_CONTENT_TYPE, type_of(s->plain->path, &conf->mime));
    if (s->coding >= 0)
        response_field(x, FIELD_CONTENT_ENCODING, span_of(coding_words[s->coding]));
    if (range == RANGE_ONE)
        response_field(x, FIELD_CONTENT_RANGE,
                       arena_print(&x->arena, "bytes %llu-%llu/%llu", (unsigned long long)offset,
                                   (unsigned long long)(offset + len - 1),
                                   (unsigned long long)e->stat.size));
    static_send(x, range == RANGE_ONE ? 206 : 200, e, offset, len);
}

/* The file itself is there; is one of its siblings the better answer?
 * An older one was made from an older file. */
static bool static_sibling_fits(const struct serving *s)
{
    return s->file->fail == 0 && s->file->stat.mtime_ns >= s->plain->stat.mtime_ns;
}

static void static_begin(struct exchange *x, const struct static_conf *conf, struct serving *s)
{
    s->begun = true;
    s->coding = -1;
    if (x->request.method != METHOD_GET && x->request.method != METHOD_HEAD) {
        respond_failed_with(x, CAUSE_method_not_allowed, FIELD_ALLOW, SPAN("GET, HEAD"));
        return;
    }
    s->path = static_path(x, conf);
    if (!s->path.ptr) {
        respond_failed(x, CAUSE_not_found);
        return;
    }
    s->accepted = codings_accepted(&x->request.fields);
    static_want(x, conf, s, s->path);
}

static void static_answer(struct exchange *x)
{
    const struct static_conf *conf = exchange_conf(x);
    struct serving *s = exchange_state(x);

    if (!s->begun)
        static_begin(x, conf, s);
    while (!response_started(x) && s->file && file_settled(s->file)) {
        if (!s->plain) {
            if (s->file->fail) {
                static_next(x, conf, s);
                continue;
            }
            s->plain = s->file;
            s->file = NULL;
            if (static_next_coding(x, conf, s))
                continue;
        } else if (static_sibling_fits(s)) {
            static_serve(x, conf, s);
            continue;
        } else {
            static_drop(&s->file);
            if (static_next_coding(x, conf, s))
                continue;
        }
        if (response_started(x))
            break;
        /* No sibling: the file itself. */
        s->coding = -1;
        s->file = s->plain;
        s->file->users++;
        static_serve(x, conf, s);
    }
}

static void static_ended(struct exchange *x)
{
    struct serving *s = exchange_state(x);

    list_remove(&s->waiter.node);
    static_drop(&s->file);
    static_drop(&s->plain);
}

static int static_worker_start(struct worker *w, void *data, void *process, const void *conf)
{
    const struct static_module_conf *all = conf;
    struct static_state *state = data;

    (void)process;
    file_cache_init(&state->cache, w, all->cache_size / worker_count(w));
    state->ready = true;
    return 0;
}

static void static_worker_adopt(struct worker *w, void *data, const void *conf)
{
    const struct static_module_conf *all = conf;
    struct static_state *state = data;

    file_cache_limit(&state->cache, all->cache_size / worker_count(w));
}

static uint64_t static_memory_max(const void *conf, unsigned workers)
{
    (void)workers;
    return ((const struct static_module_conf *)conf)->cache_size;
}

static void static_worker_stop(struct worker *w, void *data)
{
    struct static_state *state = data;

    (void)w;
    if (state->ready)
        file_cache_free(&state->cache);
}

static const struct handler static_handler = {
    .name = "static",
    .summary = "serve files from disk",
    .settings = static_settings,
    .conf_size = sizeof(struct static_conf),
    .state_size = sizeof(struct serving),
    .load = static_load,
    .answer = static_answer,
    .ended = static_ended,
};

const struct module static_module = {
    .name = "static",
    .summary = "serves files from disk",
    .handlers = (const struct handler *const[]){&static_handler, NULL},
    .conf_size = sizeof(struct static_module_conf),
    .memory_max = static_memory_max,
    .worker_size = sizeof(struct static_state),
    .worker_start = static_worker_start,
    .worker_adopt = static_worker_adopt,
    .worker_stop = static_worker_stop,
};
