/* A configuration being read: what its files share. */
#ifndef HEADGATE_GATE_LOADING_H
#define HEADGATE_GATE_LOADING_H

#include "gate/module.h"

struct file_read { /* error pages are read once, however many routes have them */
    struct file_read *next;
    struct span path, content;
};

struct route_asked { /* by a module */
    struct route_asked *next;
    const struct module *module;
    struct conf_section *section; /* the module's */
    struct default_route route;
};

struct loading {
    struct config *config;
    const struct tls_layer *tls_layer; /* NULL: this build has none */
    const struct module *const *modules;
    struct diagnostics *d;
    struct conf_section *server; /* never NULL */
    struct file_read *files;
    struct route_asked *asked, **asked_last;

    /* What is being loaded now. */
    struct conf_section *section;
    const struct module *module;
    void *module_conf; /* of the module whose handler the route names */
    const struct spans *paths;
};

/* Everything from the configuration's arena; NULL: no memory, and that was said. */
void *loading_zalloc(struct loading *l, size_t size);

/* The n-th section of a type from `from` on: for (s = sections_of(first, type); s;
 * s = sections_of(s->next, type)). */
struct conf_section *sections_of(struct conf_section *from, const char *type);
unsigned sections_count(const struct config *config, const char *type);

/* "; did you mean ...?" among some words, or "". */
const char *did_you_mean(struct loading *l, struct span written, const char *const *words,
                         size_t count);

/* Reads a file at most `max` long; what is wrong is said at `at` about `key`. */
bool loading_file(struct loading *l, struct position at, const char *key, struct span path,
                  size_t max, struct span *content);

const struct handler *handler_find(const struct loading *l, struct span name,
                                   const struct module **module);

/* Each fills its part of l->config. */
void config_load_server(struct loading *l);
void config_load_tls(struct loading *l);
void config_load_listeners(struct loading *l);
void loading_servers(struct loading *l, const struct lines *lines, struct upstream_conf *u);
void config_load_upstreams(struct loading *l);
void config_load_modules(struct loading *l);
void config_load_routes(struct loading *l);
void config_load_tests(struct loading *l);

/* Parts of a route (and of [server]). */
void edits_load(struct loading *l, const char *key, const struct lines *lines, struct edits *edits);
void conditions_load(struct loading *l, const char *key, const struct lines *lines, bool in_query,
                     struct conditions *conditions);
void listener_tls_load(struct loading *l, struct listener_conf *c);
void route_tls_check(struct loading *l, const struct route_conf *r); /* warns */
void check_load(struct loading *l, const struct line *line, struct upstream_conf *u);
void loading_sticky(struct loading *l, const struct line *line, struct upstream_conf *u);
void upstream_tls_load(struct loading *l, struct upstream_conf *u);
void error_pages_load(struct loading *l, const struct lines *lines, struct error_pages *pages);

extern const struct setting server_settings[], listener_settings[], upstream_settings[],
    route_settings[], test_settings[], tls_settings[];

/* The tables that a section's keys come from, NULL-terminated; at most SECTION_TABLES_MAX. */
enum { SECTION_TABLES_MAX = 8 };
void section_tables(const struct module *const *modules, const struct conf_section *s,
                    const struct setting *tables[SECTION_TABLES_MAX]);

/* Sections and keys that nobody knows. */
void config_check_keys(struct loading *l);

/* The settings of [server] that differ and need a restart, up to the NULL. */
enum { SERVER_RESTART_MAX = 9 };
void server_needs_restart(const struct server_conf *before, const struct server_conf *after,
                          const char *names[SERVER_RESTART_MAX]);

/* Those settings as they are in effect; false: no memory. */
MUST_USE bool server_keep_running(struct server_conf *after, const struct server_conf *before,
                                  struct arena *arena);

#endif
