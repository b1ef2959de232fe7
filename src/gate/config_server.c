/* [server]: what the whole process does. */
#include "base/clock.h"
#include "gate/loading.h"
#include "net/lookup.h"

struct server_raw {
    struct server_conf conf;
    int engine, tests;
    struct line access_log, error_log;
    struct lines resolver;
    struct line resolver_ttl;
};

#define AT(member, type) SETTING_MEMBER(struct server_raw, member, type)

static const char *const engines[] = {"auto", "uring", "epoll", NULL};
/* In the order of the IO_NO_* bits. */
static const char *const engine_parts[] = {"multishot_receive", "provided_buffers", "poll_first",
                                           "bulk_buffers",      "splice",           NULL};
static const char *const tests_words[] = {"require", "skip", NULL};
static const char *const log_places[] = {"stdout", "stderr", NULL};
static const char *const log_levels[] = {"error", "warning", "notice", "info", "debug", NULL};

const struct setting server_settings[] = {
    {.name = "include",
     .type = SETTING_FILES,
     .flags = SETTING_READER,
     .help = "More files, or patterns of their names, read after this one."},
    {.name = "workers",
     .type = SETTING_COUNT,
     .flags = SETTING_AUTO | SETTING_RESTART,
     .fallback = "auto",
     .min = 1,
     .max = 256,
     .offset = AT(conf.workers, uint64_t),
     .help = "Threads; auto is the CPUs of the affinity mask, at most the cgroup's quota."},
    {.name = "engine",
     .type = SETTING_WORD,
     .flags = SETTING_RESTART,
     .fallback = "auto",
     .words = engines,
     .offset = AT(engine, int),
     .help = "How I/O is done; a named engine that cannot run is an error."},
    {.name = "engine_disable",
     .type = SETTING_WORDS,
     .flags = SETTING_RESTART,
     .words = engine_parts,
     .offset = AT(conf.engine_disable, uint64_t),
     .help = "Parts of an engine to leave out, for diagnosis."},
    {.name = "user",
     .type = SETTING_TOKEN,
     .flags = SETTING_RESTART,
     .offset = AT(conf.user, struct span),
     .help = "Who to be after binding."},
    {.name = "group",
     .type = SETTING_TOKEN,
     .flags = SETTING_RESTART,
     .offset = AT(conf.group, struct span),
     .help = "The group to be after binding; the user's if absent."},
    {.name = "pid_file",
     .type = SETTING_FILE,
     .flags = SETTING_RESTART,
     .offset = AT(conf.pid_file, struct span),
     .help = "Where the process id is written after binding; removed at exit."},
    {.name = "control",
     .type = SETTING_FILE,
     .flags = SETTING_OFF | SETTING_RESTART,
     .fallback = "off",
     .offset = AT(conf.control, struct span),
     .help = "The socket that headgate ctl speaks to; removed at exit."},
    {.name = "max_connections",
     .type = SETTING_COUNT,
     .flags = SETTING_AUTO,
     .fallback = "auto",
     .min = 1,
     .offset = AT(conf.max_connections, uint64_t),
     .help = "Client connections of the process; auto follows the descriptor limit."},
    {.name = "buffer_memory",
     .type = SETTING_SIZE,
     .flags = SETTING_AUTO | SETTING_RESTART,
     .fallback = "auto",
     .min = 1 << 20,
     .offset = AT(conf.buffer_memory, uint64_t),
     .help = "Ceiling of all content buffers; auto is a quarter of the memory."},
    {.name = "drain_timeout",
     .type = SETTING_DURATION,
     .fallback = "30s",
     .offset = AT(conf.drain_timeout, uint64_t),
     .help = "How long exchanges and tunnels may still run after SIGTERM."},
    {.name = "reload_timeout",
     .type = SETTING_DURATION,
     .flags = SETTING_OFF,
     .fallback = "off",
     .offset = AT(conf.reload_timeout, uint64_t),
     .help = "How long exchanges begun before a reload may stay on theirs."},
    {.name = "tests",
     .type = SETTING_WORD,
     .fallback = "require",
     .words = tests_words,
     .offset = AT(tests, int),
     .help = "Whether a failing [test] refuses start and reload."},
    {.name = "access_log",
     .type = SETTING_LINE,
     .flags = SETTING_OFF | SETTING_FILE_FIRST | SETTING_OPTIONS,
     .fallback = "off",
     .words = log_places,
     .offset = AT(access_log, struct line),
     .help = "A file, stdout, stderr or off; format=json, common or combined."},
    {.name = "error_log",
     .type = SETTING_LINE,
     .flags = SETTING_FILE_FIRST | SETTING_OPTIONS,
     .fallback = "stderr",
     .words = log_places,
     .offset = AT(error_log, struct line),
     .help = "A file, stdout or stderr; format=text or json."},
    {.name = "log_level",
     .type = SETTING_WORD,
     .fallback = "notice",
     .words = log_levels,
     .offset = AT(conf.log_level, int),
     .help = "The least that the error log tells."},
    {.name = "server_header",
     .type = SETTING_TEXT,
     .flags = SETTING_OFF,
     .fallback = "headgate",
     .offset = AT(conf.server_header, struct span),
     .help = "The Server field of our own responses."},
    {.name = "resolver",
     .type = SETTING_LIST,
     .fallback = "system",
     .offset = AT(resolver, struct lines),
     .help = "Who knows the addresses of names: system, or IP[:PORT] of DNS servers."},
    {.name = "resolver_timeout",
     .type = SETTING_DURATION,
     .fallback = "2s",
     .min = NS_PER_MS,
     .offset = AT(conf.resolver_timeout, uint64_t),
     .help = "How long it may take to resolve a name, all tries."},
    {.name = "resolver_ttl",
     .type = SETTING_LINE,
     .flags = SETTING_OPTIONS,
     .fallback = "min=1s max=1h",
     .offset = AT(resolver_ttl, struct line),
     .help = "Bounds for how long an answer holds."},
    {0},
};

struct format_word {
    const char *name;
    enum log_format format;
};

/* "FILE format=WORD" */
static void log_load(struct loading *l, const char *key, const struct line *line,
                     const struct format_word *formats, size_t count, struct log_target *target)
{
    target->format = formats[0].format;
    target->off = line->words.count == 0;
    if (target->off)
        return;
    target->path = line->words.list[0];
    for (unsigned i = 1; i < line->words.count; i++) {
        struct span word = line->words.list[i];
        size_t f = 0;
        if (span_starts(word, SPAN("format=")))
            while (f < count && !span_equal(span_after(word, 7), span_of(formats[f].name)))
                f++;
        else
            f = count;
        if (f == count)
            loading_say_word(l, line, i, key,
                             count == 2 ? "after the file stands format=text or format=json"
                                        : "after the file stands format=json, format=common or "
                                          "format=combined");
        else
            target->format = formats[f].format;
    }
}

/* "10.0.0.1", "10.0.0.1:53", "::1", "[::1]:53" to what c-ares takes. */
static bool dns_server(struct loading *l, struct span word, struct span *list)
{
    char text[ADDRESS_TEXT_MAX];
    struct address a;

    if (address_parse_ip(&a, word) == 0)
        a.port = 53;
    else if (address_parse(&a, word) < 0 || a.family == ADDRESS_UNIX || a.port == 0)
        return false;
    struct span one = {text, address_print(&a, text)};
    *list = list->len ? arena_print(&l->config->arena, "%.*s,%.*s", SPAN_ARG(*list), SPAN_ARG(one))
                      : arena_copy(&l->config->arena, one);
    if (!list->ptr)
        diagnostics_memory(l->d);
    return true;
}

static void resolver_load(struct loading *l, const struct lines *lines, struct server_conf *conf)
{
    struct span list = {0};

    for (unsigned i = 0; i < lines->count; i++) {
        const struct line *line = &lines->list[i];
        bool system = span_equal(line->words.list[0], SPAN("system"));
        if (line->words.count > 1)
            loading_say_word(l, line, 1, "resolver", "nothing follows an address");
        else if (system && lines->count > 1)
            loading_say_word(l, line, 0, "resolver", "stands alone; with others it is not asked");
        else if (!system && !resolver_library)
            loading_say_word(l, line, 0, "resolver", "not supported by this build; only system is");
        else if (!system && !dns_server(l, line->words.list[0], &list))
            loading_say_word(l, line, 0, "resolver", "neither system nor IP[:PORT]");
    }
    if (list.len > 0 && !(conf->resolver = arena_text(&l->config->arena, list)))
        diagnostics_memory(l->d);
}

/* "min=D max=D", one or both, in any order. */
static void ttl_load(struct loading *l, const struct line *line, struct server_conf *conf)
{
    conf->resolver_ttl_min = NS_PER_S;
    conf->resolver_ttl_max = 3600 * NS_PER_S;
    for (unsigned i = 0; i < line->words.count; i++) {
        struct span word = line->words.list[i];
        bool min = span_starts(word, SPAN("min=")), max = span_starts(word, SPAN("max="));
        const char *why = "min=DURATION and max=DURATION";
        if ((min || max) &&
            value_duration(span_after(word, 4),
                           min ? &conf->resolver_ttl_min : &conf->resolver_ttl_max, &why) == 0)
            continue;
        loading_say_word(l, line, i, "resolver_ttl", why);
        return;
    }
    if (conf->resolver_ttl_min < 100 * NS_PER_MS)
        loading_say(l, SEVERITY_ERROR, "resolver_ttl", "min is at least 100ms");
    if (conf->resolver_ttl_min > conf->resolver_ttl_max)
        loading_say(l, SEVERITY_ERROR, "resolver_ttl", "min is more than max");
}

static bool is_field_value(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((uint8_t)s.ptr[i] < 0x20 && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return false;
    return true;
}

void config_load_server(struct loading *l)
{
    static const struct format_word access[] = {
        {"json", LOG_JSON}, {"common", LOG_COMMON}, {"combined", LOG_COMBINED}};
    static const struct format_word error[] = {{"text", LOG_TEXT}, {"json", LOG_JSON}};
    const struct source *source = l->config->conf.source;
    struct server_raw raw = {0};

    l->section = l->server;
    conf_fill(&l->config->conf, l->server, NULL, server_settings, &raw, l->d);
    struct server_conf *conf = &l->config->server;
    *conf = raw.conf;
    conf->engine = span_of(engines[raw.engine]);
    conf->tests_required = raw.tests == 0;
    log_load(l, "access_log", &raw.access_log, access, COUNT_OF(access), &conf->access_log);
    log_load(l, "error_log", &raw.error_log, error, COUNT_OF(error), &conf->error_log);
    resolver_load(l, &raw.resolver, conf);
    ttl_load(l, &raw.resolver_ttl, conf);
    if (!is_field_value(conf->server_header))
        loading_say(l, SEVERITY_ERROR, "server_header", "a control character");
    if (conf->server_header.len > SERVER_HEADER_MAX)
        loading_say(l, SEVERITY_ERROR, "server_header", "longer than %d bytes", SERVER_HEADER_MAX);
    if (conf->control.len > ADDRESS_PATH_MAX)
        loading_say(l, SEVERITY_ERROR, "control", "a socket's path has at most %d bytes",
                    ADDRESS_PATH_MAX);
    if (conf->group.len > 0 && conf->user.len == 0)
        loading_say(l, SEVERITY_ERROR, "group", "there is no user");
    const char *share =
        source->environment ? source->environment(source->data, "HEADGATE_SHARE_PORTS") : NULL;
    conf->share_ports = share && *share;
}

void server_needs_restart(const struct server_conf *before, const struct server_conf *after,
                          const char *names[SERVER_RESTART_MAX])
{
    const struct {
        const char *name;
        bool differs;
    } rows[SERVER_RESTART_MAX - 1] = {
        {"workers", before->workers != after->workers},
        {"engine", !span_equal(before->engine, after->engine)},
        {"engine_disable", before->engine_disable != after->engine_disable},
        {"user", !span_equal(before->user, after->user)},
        {"group", !span_equal(before->group, after->group)},
        {"pid_file", !span_equal(before->pid_file, after->pid_file)},
        {"control", !span_equal(before->control, after->control)},
        {"buffer_memory", before->buffer_memory != after->buffer_memory},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].differs)
            *names++ = rows[i].name;
    *names = NULL;
}

bool server_keep_running(struct server_conf *after, const struct server_conf *before,
                         struct arena *arena)
{
    const struct {
        struct span *to;
        struct span from;
    } texts[] = {
        {&after->engine, before->engine},   {&after->user, before->user},
        {&after->group, before->group},     {&after->pid_file, before->pid_file},
        {&after->control, before->control},
    };

    after->workers = before->workers;
    after->engine_disable = before->engine_disable;
    after->buffer_memory = before->buffer_memory;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        *texts[i].to = texts[i].from.len ? arena_copy(arena, texts[i].from) : (struct span){0};
        if (texts[i].from.len && !texts[i].to->ptr)
            return false;
    }
    return true;
}
