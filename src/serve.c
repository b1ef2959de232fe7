/* Serving: threads, signals and their order; see serve.h.
 *
 * main's thread does nothing but wait: for signals, and for who steers it
 * through the control socket.  Workers tell it by one more signal (SIGURG)
 * that an order was carried out, a generation has ended or a thread is about to.
 */
#include "serve.h"

#include "control.h"
#include "error_log.h"
#include "gate/gate.h"
#include "gate/names.h"
#include "gate/report.h"
#include "gate/tls_watch.h"
#include "identity.h"
#include "io/descriptor.h"
#include "modules/modules_table.h"
#include "monotonic.h"
#include "pid_file.h"
#include "reload.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* What workers tell main by; from outside it says nothing. */
#define SIGNAL_LOOK SIGURG
#define STUCK_NS    (3 * NS_PER_S) /* from when all should have ended */

/* --- the engine ---------------------------------------------------------------------- */

const struct io_backend *serve_engine(const struct server_conf *server, char *passed, size_t room,
                                      const char **why)
{
    passed[0] = '\0';
    if (!span_equal(server->engine, SPAN("auto")) && server->engine.len > 0) {
        const struct io_backend *named = io_backend_find(server->engine);
        *why = "it was not built in";
        return named && io_backend_usable(named, why) ? named : NULL;
    }
    for (unsigned i = 0; io_backends[i]; i++) {
        if (io_backend_usable(io_backends[i], why))
            return io_backends[i];
        size_t used = strlen(passed);
        snprintf(passed + used, room - used, "%s%s: %s", used ? "; " : "",
                 io_backend_name(io_backends[i]), *why);
    }
    return NULL;
}

/* --- threads --------------------------------------------------------------------------- */

/* By SIGHUP. */
struct reload_asked {
    bool for_it;    /* but it has not begun */
    bool under_way; /* it has the crew's reload */
    struct arena arena;
    struct diagnostics d;
};

struct crew {
    struct gate gate;
    pthread_t main;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    pthread_barrier_t done;
    pthread_mutex_t orders; /* held while main posts to engines */
    bool closing;           /* engines are about to be taken down: nothing is posted */
    unsigned open, failed, running;
    _Atomic unsigned finished; /* workers that serve nobody any more */
    _Atomic unsigned standing; /* workers that touch nothing any more */
    struct tls_watch *watch;   /* main's; NULL: nothing is watched */
    struct control *control;   /* main's; NULL: there is no socket */
    struct reload reload;      /* main's, if ... */
    bool reloading;            /* ... there is one */
    struct reload_asked asked; /* main's */
    int signals;               /* a descriptor to read them from */
    unsigned terms;            /* how often we were told to end */
};

struct hand {
    struct crew *crew;
    struct worker *worker;
    pthread_t thread;
};

/* The one crew of the process, for the gate's callback. */
static struct crew crew;

/* A signal that says no more than "look": however many come before main looks
 * are one.  Not a real-time signal, of which the system may have no more. */
static void tell_main(struct gate *gate)
{
    (void)gate;
    pthread_kill(crew.main, SIGNAL_LOOK);
}

/* The process ends with this worker as it is; what its modules keep can be saved
 * if nobody is being served. */
static void hand_stand(struct hand *hand)
{
    if (hand->worker->conns.out == 0) {
        worker_modules_stop(hand->worker);
        atomic_fetch_add(&crew.standing, 1);
    }
    for (;;)
        descriptor_pause(NS_PER_S);
}

/* A worker that is done still answers the others, which may be serving, until
 * the last is done too; what was posted is delivered before anything is taken
 * down, on the thread that set it up. */
static void hand_end(struct hand *hand)
{
    atomic_fetch_add(&crew.finished, 1);
    while (atomic_load(&crew.finished) < crew.gate.worker_count) {
        io_turn(hand->worker->io, 10 * NS_PER_MS);
        if (hand->worker->standing)
            hand_stand(hand);
    }
    pthread_mutex_lock(&crew.orders);
    crew.closing = true;
    pthread_mutex_unlock(&crew.orders);
    pthread_barrier_wait(&crew.done);
    io_turn(hand->worker->io, 0);
    pthread_barrier_wait(&crew.done);
    worker_close(hand->worker);
    pthread_mutex_lock(&crew.lock);
    crew.running--;
    pthread_mutex_unlock(&crew.lock);
    tell_main(NULL);
}

static void *hand_main(void *data)
{
    struct hand *hand = data;
    const char *why = "";
    int err = worker_open(hand->worker, &why);

    pthread_mutex_lock(&crew.lock);
    if (err < 0) {
        log_say(LOG_ERROR, "worker %u: %s: %s", hand->worker->index, fail_text(err), why);
        crew.failed++;
    } else {
        crew.open++;
    }
    pthread_cond_broadcast(&crew.opened);
    /* Workers post to each other, so none begins before all are there. */
    while (crew.open + crew.failed < crew.gate.worker_count)
        pthread_cond_wait(&crew.opened, &crew.lock);
    bool all = crew.failed == 0;
    pthread_mutex_unlock(&crew.lock);
    if (!all) /* the process ends: nothing is taken down piece by piece */
        return NULL;
    while (worker_turn(hand->worker))
        ;
    if (hand->worker->standing)
        hand_stand(hand);
    hand_end(hand);
    return NULL;
}

static bool crew_start(struct hand *hands)
{
    unsigned n = crew.gate.worker_count;

    crew.running = n;
    pthread_barrier_init(&crew.done, NULL, n);
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        hands[i] = (struct hand){&crew, &crew.gate.workers[i], 0};
        if (pthread_create(&hands[i].thread, NULL, hand_main, &hands[i]) != 0) {
            log_say(LOG_ERROR, "worker %u: no thread", i);
            return false;
        }
        snprintf(name, sizeof name, "worker %u", i % 100000);
        pthread_setname_np(hands[i].thread, name);
    }
    pthread_mutex_lock(&crew.lock);
    while (crew.open + crew.failed < n)
        pthread_cond_wait(&crew.opened, &crew.lock);
    bool all = crew.failed == 0;
    pthread_mutex_unlock(&crew.lock);
    return all;
}

static unsigned crew_running(void)
{
    pthread_mutex_lock(&crew.lock);
    unsigned n = crew.running;
    pthread_mutex_unlock(&crew.lock);
    return n;
}

/* --- files ------------------------------------------------------------------------------------ */

/* What we have made and nobody shall find when we are gone. */
static void leave_files(void)
{
    pid_file_remove();
    control_close(crew.control);
    crew.control = NULL;
}

/* --- signals ----------------------------------------------------------------------------- */

/* Tells the workers something, unless they are ending already: a worker may act
 * on its order, and be gone, before the call that gives it has returned. */
static void order(void (*give)(struct gate *gate))
{
    pthread_mutex_lock(&crew.orders);
    if (!crew.closing)
        give(&crew.gate);
    pthread_mutex_unlock(&crew.orders);
}

/* A write to a pipe that nobody reads may never come home. */
static void serve_stuck(uint64_t give_up)
{
    if (monotonic_ns() < give_up)
        return;
    log_say(LOG_ERROR, "a worker does not end, perhaps for a log that nobody reads: left behind");
    order(gate_stand);
    for (int ms = 0; ms < 1000 && atomic_load(&crew.standing) < crew.gate.worker_count; ms++)
        descriptor_pause(NS_PER_MS);
    if (atomic_load(&crew.standing) == crew.gate.worker_count)
        gate_modules_stop(&crew.gate);
    leave_files();
    _exit(1);
}

/* How long there may be nothing to do; in ms, -1: for ever. */
static int patience(uint64_t give_up)
{
    const uint64_t tick = 200 * NS_PER_MS, now = monotonic_ns();
    uint64_t due = tls_watch_due(crew.watch), asked = control_due(crew.control);
    uint64_t names = names_due(crew.gate.names);

    due = names < due ? names : due;
    if (due <= now || give_up != TIME_NEVER)
        due = now + tick;
    if (crew.asked.under_way && reload_due(&crew.reload) < asked)
        asked = reload_due(&crew.reload);
    if (asked < due)
        due = asked > now ? asked : now;
    if (due == TIME_NEVER)
        return -1;
    uint64_t ms = (due - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* A signal; 0: it is time to look at something.  Clients of the control socket are served. */
static int wait_for_news(uint64_t give_up)
{
    struct pollfd fds[1 + CONTROL_POLLS_MAX] = {{.fd = crew.signals, .events = POLLIN}};
    unsigned count = 1 + control_polls(crew.control, fds + 1);
    struct signalfd_siginfo info;

    if (poll(fds, count, patience(give_up)) < 0) /* nothing is known of them */
        for (unsigned i = 0; i < count; i++)
            fds[i].revents = 0;
    control_turn(crew.control, fds + 1, monotonic_ns());
    if (!(fds[0].revents & POLLIN) || read(crew.signals, &info, sizeof info) != sizeof info)
        return 0;
    return (int)info.ssi_signo;
}

/* --- what the control socket's commands need ---------------------------------------------- */

static bool workers_hold(void)
{
    pthread_mutex_lock(&crew.orders);
    if (!crew.closing)
        return true;
    pthread_mutex_unlock(&crew.orders);
    return false;
}

static void workers_release(void)
{
    pthread_mutex_unlock(&crew.orders);
}

static void watch_begin(void);

/* One at a time, whoever asks. */
static struct reload *reload_start(struct diagnostics *d)
{
    if (crew.reloading)
        return NULL;
    crew.reloading = true;
    if (crew.terms == 0)
        reload_begin(&crew.reload, &crew.gate, d);
    else
        crew.reload = (struct reload){.gate = &crew.gate, .d = d};
    return &crew.reload;
}

static enum reload_state reload_go_on(void)
{
    enum reload_state state = RELOAD_REFUSED;

    if (crew.terms > 0)
        reload_drop(&crew.reload, "headgate is ending");
    else
        state = reload_step(&crew.reload);
    if (state == RELOAD_WAITS)
        return state;
    if (state == RELOAD_DONE)
        watch_begin();
    crew.reloading = false;
    tell_main(NULL); /* the next may be waiting */
    return state;
}

static const struct command_means means = {
    .gate = &crew.gate,
    .hold = workers_hold,
    .release = workers_release,
    .reload_begin = reload_start,
    .reload_step = reload_go_on,
};

/* What SIGHUP asks for: as soon as no other is under way. */
static void reload_for_signal(void)
{
    struct reload_asked *asked = &crew.asked;

    if (asked->for_it && !asked->under_way) {
        asked->d = (struct diagnostics){.arena = &asked->arena};
        asked->under_way = reload_start(&asked->d) != NULL;
        asked->for_it = !asked->under_way;
    }
    if (!asked->under_way || reload_go_on() == RELOAD_WAITS)
        return;
    asked->under_way = false;
    arena_free(&asked->arena);
}

/* Keys are those of [tls] sections, and ours for origins. */
static void secrets_keep(const struct config *config)
{
    bool keys = config->tls_count > 0;

    for (unsigned i = 0; i < config->upstream_count; i++)
        keys = keys || config->upstreams[i].tls_certificate.len > 0;
    if (keys)
        identity_keep_secrets();
}

/* Of the generation that has just become the newest. */
static void watch_begin(void)
{
    tls_watch_free(crew.watch);
    crew.watch = tls_watch_new(&crew.gate, &source_disk);
    secrets_keep(crew.gate.config);
}

static void serve_until_done(void)
{
    uint64_t give_up = TIME_NEVER;

    while (crew_running() > 0) {
        int sig = wait_for_news(give_up);
        serve_stuck(give_up);
        if (crew.terms == 0 && tls_watch_due(crew.watch) <= monotonic_ns())
            tls_watch_look(crew.watch, monotonic_ns());
        if (crew.terms == 0)
            names_look(crew.gate.names, monotonic_ns());
        if (sig == SIGHUP && crew.terms == 0) {
            crew.asked.for_it = true;
        } else if (sig == SIGUSR1) {
            error_log_reopen();
            order(gate_reopen_logs);
        } else if (sig == SIGUSR2) {
            order(report_gate);
        } else if (sig == SIGTERM || sig == SIGINT) {
            if (++crew.terms == 1) {
                log_say(LOG_NOTICE, "draining");
                order(gate_drain);
                uint64_t drain = crew.gate.config->server.drain_timeout;
                if (drain != VALUE_OFF)
                    give_up = monotonic_ns() + drain + STUCK_NS;
            } else if (crew.terms == 2) {
                log_say(LOG_WARNING, "stopping now");
                order(gate_stop);
                give_up = monotonic_ns() + STUCK_NS;
            } else {
                leave_files();
                _exit(1);
            }
        }
        reload_for_signal();
        if (crew.terms == 0)
            gate_sweep(&crew.gate);
    }
}

/* --- the process ---------------------------------------------------------------------------- */

static void options_find(struct gate_options *options, const struct config *config)
{
    options->modules = modules_table;
    options->workers = config_workers(config);
    options->connections_max = config_connections_max(config);
    options->descriptors_spare = config_descriptors_spare();
    options->buffer_memory = config_buffer_memory(config);
}

/* Whose folder is not ours once we are the user: said when it can be mended. */
static void say_staying(const char *key, struct span path)
{
    char name[PATH_MAX];

    if (path.len == 0 || snprintf(name, sizeof name, "%.*s", SPAN_ARG(path)) >= PATH_MAX)
        return;
    if (descriptor_may_create(name) < 0)
        log_say(LOG_WARNING, "%s %s will stay when we end: its folder is not the user's", key,
                name);
}

static int serve_open(struct config *config, struct gate_options *options)
{
    struct arena arena = {0};
    struct diagnostics d = {.arena = &arena};
    const struct server_conf *server = &config->server;
    char passed[512];
    const char *why = "";

    secrets_keep(config);
    if (!(options->backend = serve_engine(server, passed, sizeof passed, &why))) {
        log_say(LOG_ERROR, "engine %.*s cannot run here: %s", SPAN_ARG(server->engine), why);
        return FAIL_UNSUPPORTED;
    }
    options_find(options, config);
    int err = gate_open(&crew.gate, config, options, &d);
    error_log_diagnostics(&d);
    arena_free(&arena);
    if (err < 0)
        return err;
    int socket = -1;
    if (server->control.len > 0 && (err = control_open(&crew.control, server->control,
                                                       options->backend, &means, &socket)) < 0) {
        log_say(LOG_ERROR, "control %.*s: %s", SPAN_ARG(server->control), fail_text(err));
        return err;
    }
    const int ours[] = {error_log_made(), pid_file_write(server->pid_file), socket};
    if (server->user.len > 0)
        err = identity_drop(server->user, server->group, ours, COUNT_OF(ours), &why);
    descriptor_close(ours[1]);
    descriptor_close(ours[2]);
    if (err < 0) {
        leave_files();
        log_say(LOG_ERROR, "user %.*s: %s", SPAN_ARG(server->user), why);
        return err;
    }
    if (server->user.len > 0) {
        say_staying("pid_file", server->pid_file);
        say_staying("control", server->control);
    }
    secrets_keep(config); /* who becomes another user may be dumped again, as the system likes */
    if (server->user.len == 0 && identity_is_root())
        log_say(LOG_WARNING, "serving as root: set [server] user");
    log_say(LOG_NOTICE, "engine %s%s%s%s, %u worker%s, %llu connections at most",
            io_backend_name(options->backend), passed[0] ? " (" : "", passed, passed[0] ? ")" : "",
            options->workers, options->workers == 1 ? "" : "s",
            (unsigned long long)options->connections_max);
    return 0;
}

static void names_told(void)
{
    tell_main(&crew.gate);
}

/* Before workers serve: so that the first request finds addresses, if there are any to be had soon.
 */
static bool names_begin(void)
{
    struct config *config = crew.gate.config;

    crew.gate.names = names_new(&crew.gate, resolver_new(names_told));
    if (!crew.gate.names || names_await(crew.gate.names, config) < 0) {
        log_say(LOG_ERROR, "no memory for names");
        return false;
    }
    names_place(crew.gate.names, config);
    return true;
}

int serve(struct config *config)
{
    struct gate_options options = {0};
    sigset_t signals;

    if (error_log_open(&config->server.error_log, config->server.log_level) < 0) {
        log_say(LOG_ERROR, "error_log %.*s cannot be opened",
                SPAN_ARG(config->server.error_log.path));
        return 1;
    }
    sigemptyset(&signals);
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        sigaddset(&signals, numbers[i]);
    sigaddset(&signals, SIGNAL_LOOK);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        log_say(LOG_ERROR, "no descriptor to hear signals by");
        return 1;
    }

    crew = (struct crew){.main = pthread_self(),
                         .signals = fd,
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .orders = PTHREAD_MUTEX_INITIALIZER,
                         .opened = PTHREAD_COND_INITIALIZER};
    if (serve_open(config, &options) < 0)
        return 1;
    crew.gate.changed = tell_main;
    if (!names_begin()) {
        leave_files();
        return 1;
    }
    struct hand *hands = calloc(options.workers, sizeof *hands);
    if (!hands || !crew_start(hands)) {
        leave_files();
        return 1;
    }
    watch_begin();
    error_log_started();
    log_say(LOG_NOTICE, "serving");
    serve_until_done();
    if (crew.reloading)
        (void)reload_go_on();
    for (unsigned i = 0; i < options.workers; i++)
        pthread_join(hands[i].thread, NULL);
    leave_files();
    descriptor_close(crew.signals);
    tls_watch_free(crew.watch);
    int err = gate_close(&crew.gate);
    free(hands);
    log_say(LOG_NOTICE, "done");
    return err < 0 ? 1 : 0;
}
