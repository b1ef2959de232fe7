/* What a start or a reload would refuse; see rehearsal.h.
 *
 * A start is two people: who starts it opens the error log, binds and makes the control socket, and
 * the user that it then becomes opens the access log.  So everything is tried as who will do it.
 * What only time can tell is left out: whether a port is free, and whether somebody reads a pipe.
 */
#include "rehearsal.h"

#include "base/fail.h"
#include "identity.h"
#include "io/descriptor.h"
#include "pid_file.h"
#include "serve.h"

#include <limits.h>

struct rehearsal {
    struct config *config;
    const struct conf_section *server; /* may be NULL: then everything is as by default */
    struct diagnostics *d;
    bool for_root; /* root will start it, and that is not us: what we may not do it may */
};

/* What we may not do, but who starts it may. */
static bool is_roots(const struct rehearsal *r, int err)
{
    return err == FAIL_ACCESS && r->for_root;
}

static void say_file(const struct rehearsal *r, const char *key, struct span path,
                     enum severity severity, const char *why)
{
    conf_say(r->server, key, severity, r->d, "%s: %.*s: %s", key, SPAN_ARG(path), why);
}

/* A file of [server], by what would be done with it.  False: it was said why that cannot be. */
static bool try_file(const struct rehearsal *r, const char *key, struct span path,
                     int (*may)(const char *path), enum severity severity)
{
    char name[PATH_MAX];
    int err = FAIL_BAD;

    if (path.len == 0)
        return true;
    if (path.len < sizeof name) {
        memcpy(name, path.ptr, path.len);
        name[path.len] = '\0';
        err = may(name);
    }
    if (err == 0 || is_roots(r, err))
        return true;
    say_file(r, key, path, severity, fail_text(err));
    return false;
}

static void try_log(const struct rehearsal *r, const char *key, const struct log_target *log)
{
    if (!log->off && !span_equal(log->path, SPAN("stderr")) &&
        !span_equal(log->path, SPAN("stdout")))
        try_file(r, key, log->path, descriptor_may_append, SEVERITY_ERROR);
}

static void try_pid_file(const struct rehearsal *r)
{
    struct span path = r->config->server.pid_file;
    const char *why;
    int err;

    if (path.len == 0 || !try_file(r, "pid_file", path, descriptor_may_create, SEVERITY_WARNING))
        return;
    err = pid_file_may_write(path, &why);
    if (err < 0 && !is_roots(r, err))
        say_file(r, "pid_file", path, SEVERITY_WARNING, why);
}

static void try_engine(const struct rehearsal *r)
{
    const struct server_conf *server = &r->config->server;
    char passed[512];
    const char *why = "";

    if (!serve_engine(server, passed, sizeof passed, &why))
        conf_say(r->server, "engine", SEVERITY_ERROR, r->d, "engine: %.*s cannot run here: %s",
                 SPAN_ARG(server->engine), why);
}

static int try_unix(const struct address *a)
{
    char path[ADDRESS_PATH_MAX + 1];

    if (a->path_len == 0 || a->path[0] == '\0')
        return 0;
    memcpy(path, a->path, a->path_len);
    path[a->path_len] = '\0';
    return descriptor_may_listen(path);
}

static void try_addresses(const struct rehearsal *r, const struct listener_conf *l)
{
    for (unsigned i = 0; i < l->listen.count; i++) {
        const struct listen_address *at = &l->listen.list[i];
        bool file = at->address.family == ADDRESS_UNIX;
        int err = at->any ? 0 : file ? try_unix(&at->address) : machine_address(&at->address);
        if (err == 0 || is_roots(r, err))
            continue;
        diagnostics_say(r->d, SEVERITY_ERROR, at->at, "listen %.*s: %s", SPAN_ARG(at->text),
                        err == FAIL_UNREACHABLE ? "no address of this machine" : fail_text(err));
    }
}

static void try_starting(const struct rehearsal *r)
{
    const struct config *config = r->config;
    const struct server_conf *server = &config->server;

    try_log(r, "error_log", &server->error_log);
    try_engine(r);
    for (unsigned i = 0; i < config->listener_count; i++)
        try_addresses(r, &config->listeners[i]);
    if (!r->for_root)
        config_rehearse(r->config, false, r->d);
    try_file(r, "control", server->control, descriptor_may_listen, SEVERITY_ERROR);
    try_pid_file(r);
}

static void try_serving(void *data)
{
    const struct rehearsal *r = data;

    try_log(r, "access_log", &r->config->server.access_log);
    config_rehearse(r->config, true, r->d);
}

static void nothing(void *data)
{
    (void)data;
}

/* False: we cannot become that user, and it was said. */
static bool try_user(struct rehearsal *r)
{
    const struct server_conf *server = &r->config->server;
    const char *why;
    int err = identity_try(server->user, (struct span){0}, nothing, NULL, &why);

    r->for_root = err == FAIL_ACCESS && !identity_is_root();
    if (r->for_root)
        conf_say(r->server, "user", SEVERITY_WARNING, r->d,
                 "user: %.*s: %s; what it may open was not tried", SPAN_ARG(server->user), why);
    else if (err < 0)
        conf_say(r->server, "user", SEVERITY_ERROR, r->d, "user: %.*s: %s", SPAN_ARG(server->user),
                 why);
    return err == 0;
}

void rehearse(struct config *config, struct diagnostics *d)
{
    const struct server_conf *server = &config->server;
    struct rehearsal r = {
        .config = config,
        .server = config_section(config, "server", (struct span){0}),
        .d = d,
    };
    bool other = server->user.len > 0, known = other && try_user(&r);
    const char *why;

    try_starting(&r);
    if (!other)
        try_serving(&r);
    else if (known && identity_try(server->user, server->group, try_serving, &r, &why) < 0)
        conf_say(r.server, "group", SEVERITY_ERROR, d, "group: %.*s: %s", SPAN_ARG(server->group),
                 why);
}

/* --- before a reload ------------------------------------------------------------------------- */

static bool is_new(const struct log_target *before, const struct log_target *now)
{
    return before->off || !span_equal(before->path, now->path);
}

/* Threads run: we become nobody else. */
static void try_identity(const struct rehearsal *r)
{
    const struct server_conf *server = &r->config->server;
    const char *why;

    if (server->user.len == 0)
        return;
    if (identity_known(server->user, (struct span){0}, &why) < 0)
        say_file(r, "user", server->user, SEVERITY_ERROR, why);
    else if (identity_known(server->user, server->group, &why) < 0)
        say_file(r, "group", server->group, SEVERITY_ERROR, why);
}

static void try_restart(const struct rehearsal *r, const struct server_conf *before)
{
    const struct server_conf *now = &r->config->server;

    if (!span_equal(before->engine, now->engine))
        try_engine(r);
    if (!span_equal(before->user, now->user) || !span_equal(before->group, now->group))
        try_identity(r);
    if (!span_equal(before->control, now->control))
        try_file(r, "control", now->control, descriptor_may_listen, SEVERITY_ERROR);
    if (!span_equal(before->pid_file, now->pid_file))
        try_pid_file(r);
}

void rehearse_reload(const struct gate *gate, struct config *config, struct diagnostics *d)
{
    const struct server_conf *before = &gate->config->server, *now = &config->server;
    struct rehearsal r = {
        .config = config,
        .server = config_section(config, "server", (struct span){0}),
        .d = d,
    };

    /* One that is open already may be root's, and stays. */
    if (is_new(&before->error_log, &now->error_log))
        try_log(&r, "error_log", &now->error_log);
    if (is_new(&before->access_log, &now->access_log))
        try_log(&r, "access_log", &now->access_log);
    config_rehearse_reload(config, gate->module_processes, d);
    r.for_root = before->user.len > 0 && !identity_is_root();
    try_restart(&r, before);
}
