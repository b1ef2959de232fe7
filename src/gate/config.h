/* One generation of the configuration: typed, checked, immutable.
 *
 * Made by main from the files, compiled (routes, templates, handlers' own
 * structs) before any worker sees it, freed when the last exchange that began
 * under it has ended on every worker.
 */
#ifndef HEADGATE_GATE_CONFIG_H
#define HEADGATE_GATE_CONFIG_H

#include "conf/conf.h"
#include "http/h1_parse.h"
#include "net/proxy_header.h"
#include "net/tls.h"

struct module;
struct handler;
struct router;
struct listener_conf;

enum log_format { LOG_JSON, LOG_COMMON, LOG_COMBINED, LOG_TEXT };

struct log_target {
    struct span path; /* empty: off; "stdout", "stderr" */
    enum log_format format;
    bool off;
};

struct error_page {
    int status;
    struct span body, type;
};
struct error_pages {
    struct error_page *list;
    unsigned count;
};

enum { SERVER_HEADER_MAX = 192 };

struct server_conf {
    uint64_t workers;        /* VALUE_AUTO */
    struct span engine;      /* "auto" ... */
    uint64_t engine_disable; /* IO_NO_* bits */
    struct span user, group, pid_file;
    struct span control;      /* the path of a socket; empty: off */
    uint64_t max_connections; /* VALUE_AUTO */
    uint64_t buffer_memory;   /* VALUE_AUTO */
    uint64_t drain_timeout, reload_timeout;
    bool tests_required;
    const char *resolver; /* "10.0.0.1:53,[::1]:53"; NULL: the system's */
    uint64_t resolver_timeout, resolver_ttl_min, resolver_ttl_max;
    struct log_target access_log, error_log;
    int log_level;                  /* enum log_level */
    struct span server_header;      /* empty: off */
    struct error_pages error_pages; /* of requests without a route */
    bool share_ports;               /* test only: from HEADGATE_SHARE_PORTS in the environment */
};

enum client_ip_source { CLIENT_IP_XFF, CLIENT_IP_FORWARDED, CLIENT_IP_OFF, CLIENT_IP_FIELD };

struct listener_conf {
    struct span name;
    unsigned index;
    struct addresses listen;
    struct spans tls_names; /* of [tls] sections; empty: plain */
    unsigned *tls;          /* their indexes in config->tls */
    unsigned tls_count;
    bool unknown_sni_refused;
    /* What they make together now.  Main's to change, when a certificate has
     * changed, while no order is under way; workers look when they are told. */
    struct tls_set *tls_set;
    bool https_redirect, h2c;
    uint64_t https_port;
    struct nets trusted;
    enum client_ip_source client_ip_from;
    enum proxy_versions proxy_protocol; /* inbound */
    struct span client_ip_field;
    uint64_t max_connections; /* VALUE_OFF */
    uint64_t backlog, socket_mode;
    uint64_t handshake_timeout, header_timeout, keepalive_timeout, keepalive_requests,
        write_timeout;
    struct h1_limits limits;
    uint64_t h2_max_streams, h2_window;
    struct rate h2_resets, h2_control;
};

struct tls_conf {
    struct span name;
    unsigned index;
    struct spans certificates, keys, names, ciphers, groups, alpn, ticket_keys, ocsp;
    struct span cipher_list, suite_list, group_list; /* as OpenSSL takes them */
    struct span client_ca, client_crl;
    struct span hsts; /* the field's value; empty: off */
    enum tls_verify verify;
    bool modern, tickets, loose_keys;
    uint64_t ticket_rotation, watch;
    struct source_identity who;  /* we shall be */
    struct source_look *looks;   /* at tls_conf_file(), before they were read; may be NULL */
    struct tls_context *context; /* main's to change, as listener_conf.tls_set */
};

enum balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONN, BALANCE_P2C, BALANCE_RANDOM, BALANCE_HASH };
enum hash_on { HASH_CLIENT_IP, HASH_PATH, HASH_HEADER, HASH_COOKIE };

struct group_state; /* gate/upstream.h */
struct sticky_conf;
struct server_state;

enum { SLOTS_PER_NAME = 16 }; /* addresses of a name that are used */

/* A slot: a place for one address of a server of an upstream.  A server that is
 * written as an address has one for good; a name has SLOTS_PER_NAME, of which most
 * have no address.  What it has now says gate/upstream.h. */
struct server_entry {
    bool secure;           /* https */
    bool named;            /* one of a name's slots */
    bool services;         /* and the name is that of a service (SRV) */
    struct span text;      /* the server as written, without options: its name in logs */
    struct span key;       /* what its states are found again by; begins with the text */
    struct span host;      /* name or IP, or empty for unix */
    struct span authority; /* the host and perhaps the port, as written: its own Host */
    uint16_t port;
    const struct address *address; /* not named: for good; NULL: none */
    unsigned weight;
    bool backup, down;
    bool h2;                /* HTTP/2 is spoken to it: at once, or where that is agreed */
    uint64_t max_in_flight, max_connections; /* VALUE_OFF */
    uint64_t hash;          /* not named: of the text, for balance = hash */
    struct server_state *state;
};

enum { /* of retry_on, in the order of their words */
       RETRY_CONNECT = 1 << 0,
       RETRY_UNPROCESSED = 1 << 1,
       RETRY_RESET = 1 << 2,
       RETRY_TIMEOUT = 1 << 3,
};
enum { RETRY_STATUS_MIN = 400, RETRY_STATUS_MAX = 599 };
struct retry_on {
    uint64_t reasons;     /* RETRY_CONNECT ... */
    uint64_t statuses[4]; /* bits, from RETRY_STATUS_MIN on */
    bool some_status;
};
static inline void retry_status_add(struct retry_on *on, unsigned status)
{
    unsigned bit = status - RETRY_STATUS_MIN;

    on->statuses[bit / 64] |= UINT64_C(1) << bit % 64;
    on->some_status = true;
}
static inline bool retry_status(const struct retry_on *on, int status)
{
    if (!on->some_status || status < RETRY_STATUS_MIN || status > RETRY_STATUS_MAX)
        return false;
    unsigned bit = (unsigned)status - RETRY_STATUS_MIN;
    return on->statuses[bit / 64] >> bit % 64 & 1;
}

enum check_kind { CHECK_OFF, CHECK_TCP, CHECK_HTTP };

struct check_conf { /* how a server is asked whether it is well */
    enum check_kind kind;
    struct spans words; /* as written: others make another check */
    struct span method, target;
    struct span host;   /* its Host; empty: the server's own */
    struct span expect; /* as written */
    struct ranges expected;
    uint64_t interval, timeout, fall, rise;
    uint16_t port; /* 0: the server's own */
};

struct upstream_conf {
    struct span name;
    unsigned index;
    struct server_entry *servers; /* slots; those of a server stand together */
    unsigned server_count;
    enum balance balance;
    enum hash_on hash_on;
    struct span hash_name;            /* of a header field or cookie */
    const struct sticky_conf *sticky; /* gate/sticky.h; NULL: off */
    bool counted;                     /* what is in flight is counted, over all workers */
    bool limited;                     /* and it, or a server's, has a limit */
    bool links_limited;               /* connections have a limit, the group's or a server's */
    uint64_t max_connections;         /* VALUE_OFF */
    uint64_t max_in_flight, queue;    /* VALUE_OFF; queue: 0 when off */
    uint64_t queue_timeout;
    bool ejects;                                  /* those that fail */
    uint64_t eject_failures, eject_error_rate;    /* VALUE_OFF; a percentage */
    uint64_t eject_time, max_ejected, slow_start; /* slow_start: VALUE_OFF */
    uint64_t retry_budget;                        /* percentage, VALUE_OFF */
    struct rate retry_min;
    struct group_state *state;
    uint64_t connect_timeout, first_byte_timeout, idle_timeout, stream_timeout;
    uint64_t keepalive, keepalive_time;
    bool keepalive_learn;
    uint64_t tries, retry_buffer;
    struct retry_on retry_on;
    struct check_conf check;
    uint64_t max_response_header;
    uint64_t family;        /* enum address_family, NONE for any */
    bool secure;            /* https */
    struct spans protocols; /* over TLS, what may be agreed: h2, http/1.1, in our order */
    bool either;            /* and that is both: the origin decides, for each connection */
    enum proxy_versions proxy_protocol; /* outbound: one version, or off */
    bool tls_verify;
    struct span tls_ca, tls_certificate, tls_key; /* files; empty: none */
    struct source_look tls_key_look;              /* our key's, before it was read; mode 0: none */
    struct span tls_name;                         /* empty: the server's */
    bool tls_by_host;                             /* or the request's host */
    struct tls_context *tls;                      /* NULL: plain */
};

enum edit_kind { EDIT_SET, EDIT_ADD, EDIT_DEFAULT, EDIT_REMOVE, EDIT_REMOVE_PREFIX };
struct edit {
    enum edit_kind kind;
    struct span name;
    uint16_t id; /* enum field_id */
    struct template *value;
};
struct edits {
    struct edit *list;
    unsigned count;
    bool removes_server; /* also the one that we would say ourselves */
};

enum condition_kind {
    CONDITION_PRESENT,
    CONDITION_ABSENT,
    CONDITION_EQUAL,
    CONDITION_NOT_EQUAL,
    CONDITION_PREFIX
};
struct condition {
    enum condition_kind kind;
    bool in_query; /* else a header field */
    struct span name, value;
    uint16_t id; /* enum field_id, when a header field */
};
struct conditions {
    struct condition *list;
    unsigned count;
};

enum request_id_mode { REQUEST_ID_TRUST, REQUEST_ID_NEW, REQUEST_ID_OFF };

struct route_conf {
    struct span name;
    unsigned index; /* in config->routes */
    struct position at;
    const struct module *module;
    unsigned module_index; /* in config->modules */
    const struct handler *handler;
    const void *conf;        /* the handler's own struct */
    const void *module_conf; /* the module's */
    struct spans listeners;  /* names; empty: all */
    uint64_t listener_bits;  /* bit i: config->listeners[i]; when none is named, all ones
                                but for those with https_redirect */
    struct spans hosts;      /* empty: any */
    struct spans paths;
    struct spans methods; /* empty: any */
    struct conditions match;
    uint64_t max_body;         /* VALUE_OFF */
    struct rate body_min_rate; /* amount 0: off */
    bool encoded_slash_pass;
    enum request_id_mode request_id;
    struct error_pages error_pages;
    bool log;
    struct edits response_edits, request_edits;
    bool loaded; /* handler->load has run: unload is owed */
    bool sound;  /* nothing was wrong with it */
};

struct test_conf {
    struct span name;
    const struct conf_section *section;
    struct span method, scheme, host, target; /* of request; host may have a port */
    uint64_t port;                            /* 0: not written */
    struct lines headers;                     /* each a NAME: VALUE */
    struct address client;
    struct span listener;
    struct span expect_route; /* empty: not asked */
    uint64_t expect_status;   /* 0: not asked */
    struct spans expect_upstream;
    struct span expect_path;
    struct span expect_header_name, expect_header_value;
    bool expect_header_any;
    struct position expect_header_at; /* of what is compared */
};

struct module_slot {
    const struct module *module;
    void *conf;
};

enum { LISTENERS_MAX = 64 };

struct config {
    struct arena arena;
    struct conf conf; /* as read, for -T */
    uint64_t generation;
    const char *path;
    struct server_conf server;
    struct listener_conf *listeners;
    unsigned listener_count;
    struct tls_conf *tls;
    unsigned tls_count;
    const struct tls_layer *tls_layer; /* NULL: there is no TLS */
    uint8_t tls_secret[TLS_SECRET];    /* the process's, for tickets */
    struct upstream_conf *upstreams;
    unsigned upstream_count;
    struct route_conf *routes;
    unsigned route_count;
    struct test_conf *tests;
    unsigned test_count;
    struct module_slot *modules; /* in the order of the table given to config_load */
    unsigned module_count;
    const struct module *const *modules_all; /* that table */
    struct router *router;
    _Atomic unsigned users; /* workers that still have exchanges of it, plus main */
    struct config *before;  /* the previous generation, while it has users; the gate's */
};

/* Reads, types, compiles.  NULL when there was an error, or no memory; all
 * that was found is in *d either way (its arena is the caller's). */
struct config *config_load(const char *path, const struct source *source,
                           const struct module *const *modules, struct diagnostics *d);

/* The same file once more: what is the process's is taken over. */
struct config *config_reload(const struct config *before, const struct source *source,
                             struct diagnostics *d);

/* For tests: with another record layer. */
struct config *config_load_with(const char *path, const struct source *source,
                                const struct module *const *modules, const struct tls_layer *layer,
                                struct diagnostics *d);
void config_free(struct config *config);

const struct upstream_conf *config_upstream(const struct config *config, struct span name);

/* Names the settings that differ and need a restart: "workers, user"; empty if none. */
enum { NEEDS_RESTART_TEXT = 128 };
struct span config_needs_restart(const struct config *before, const struct config *after,
                                 char text[NEEDS_RESTART_TEXT]);

/* What needs a restart stays what it is, so that the next reload names it again.
 * FAIL_MEMORY: the configuration cannot be used. */
MUST_USE int config_keep_running(struct config *after, const struct config *before);

/* What auto comes to here. */
unsigned config_workers(const struct config *config);
uint64_t config_connections_max(const struct config *config);
uint64_t config_buffer_memory(const struct config *config);
unsigned config_pipes(const struct config *config); /* of a worker */
unsigned config_descriptors_spare(void); /* that modules may keep */

/* Bytes in use when every connection, exchange and buffer there may be is there. */
uint64_t config_worst_case_bytes(const struct config *config);

/* The first section of a type with a name; NULL: there is none. */
const struct conf_section *config_section(const struct config *config, const char *type,
                                          struct span name);

/* Says what modules would not start with: see struct module.  For -t. */
void config_rehearse(struct config *config, bool serving, struct diagnostics *d);
/* The same before a reload, of those with this state. */
void config_rehearse_reload(struct config *config, void *const *processes, struct diagnostics *d);

/* Who will read each key, a line each; for -t. */
void config_tls_readers(const struct config *config, void (*line)(void *data, struct span text),
                        void *data);

/* -T and --help-settings */
void config_print(const struct config *config, void (*line)(void *data, struct span text),
                  void *data);
void config_help(const struct module *const *modules, void (*line)(void *data, struct span text),
                 void *data);

/* Runs the [test] sections; failures are errors in *d. */
void config_run_tests(const struct config *config, struct diagnostics *d);

#endif
