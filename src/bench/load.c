/* Load: requests leave on a timetable, whatever becomes of the ones before.
 *
 * A client that waits for an answer before it sends the next request is kind
 * to a slow server: while the server hesitates nothing is sent, and the
 * requests that would have suffered are not in the percentiles.  Users are not
 * that kind.  So each request has its time, and its latency counts from then:
 * one that has to wait for a free connection, or for this machine, has waited.
 *
 * At the rate "max" there is no timetable: each connection asks again when it
 * is answered.  That says how much a server can do, not how it feels to users.
 */
#include "load.h"

#include "base/mem.h"
#include "bench/report.h"

#include <stdio.h>

/* A crew's part of the timetable: its k-th request is request k × crews + crew
 * of all, and request i is due i intervals after the beginning. */
struct load_work {
    struct work work;
    const struct load *load;
    const _Atomic bool *stop;
    unsigned crew;
    uint64_t begin_ns; /* 0: not yet; the connections come first */
    uint64_t count, sent;
    bool over;
};

struct load {
    bool closed; /* no timetable */
    double interval_ns;
    uint64_t duration_ns; /* when there is none */
    uint64_t patience_ns; /* after the last one was due */
    char *request;
    size_t request_len;
    unsigned crews;
    struct load_work *works;
    struct work **pointers;
};

static struct load_work *load_of(const struct work *w)
{
    return container_of(w, struct load_work, work);
}

static uint64_t due_at(const struct load_work *l, uint64_t k)
{
    return l->begin_ns + (uint64_t)((double)(k * l->load->crews + l->crew) * l->load->interval_ns);
}

static bool load_next(struct work *w, struct ticket *t)
{
    struct load_work *l = load_of(w);

    if (l->over || l->begin_ns == 0 || l->sent == l->count)
        return false;
    if (l->load->closed) {
        *t = (struct ticket){.number = l->sent++};
        return true;
    }
    uint64_t due = due_at(l, l->sent);
    if (due > bench_clock())
        return false;
    *t = (struct ticket){.number = l->sent++, .start_ns = due};
    return true;
}

static size_t load_write(struct work *w, uint64_t number, char *out)
{
    const struct load *load = load_of(w)->load;

    (void)number;
    memcpy(out, load->request, load->request_len);
    return load->request_len;
}

static bool load_good(struct work *w, int status)
{
    (void)w;
    return status >= 200 && status < 400;
}

static bool load_exhausted(const struct work *w)
{
    const struct load_work *l = load_of(w);

    return l->over || (l->begin_ns != 0 && l->sent == l->count);
}

static uint64_t load_pump(struct work *w, struct crew *crew)
{
    struct load_work *l = load_of(w);
    uint64_t now = bench_clock();

    if (l->begin_ns == 0)
        l->begin_ns = now;
    if (atomic_load_explicit(l->stop, memory_order_relaxed) ||
        now > due_at(l, l->count) + l->load->patience_ns)
        l->over = true;
    for (uint64_t k = l->sent; k < l->count && !l->over; k++) {
        uint64_t due = due_at(l, k);
        if (due > now) /* the engine counts from the beginning of its turn */
            return due - io_now(crew->io);
        if (list_empty(&crew->idle))
            break; /* whoever has an answer next takes it */
        client_wake(container_of(list_pop(&crew->idle), struct client, idle));
    }
    return TIME_NEVER;
}

/* Connections that were answered go on by themselves; here they only begin. */
static uint64_t load_pump_closed(struct work *w, struct crew *crew)
{
    struct load_work *l = load_of(w);
    uint64_t now = bench_clock();

    if (l->begin_ns == 0) {
        l->begin_ns = now;
        while (!list_empty(&crew->idle))
            client_wake(container_of(list_pop(&crew->idle), struct client, idle));
    }
    if (atomic_load_explicit(l->stop, memory_order_relaxed) ||
        now - l->begin_ns >= l->load->duration_ns)
        l->over = true;
    return l->over ? TIME_NEVER : l->load->duration_ns - (now - l->begin_ns);
}

/* --- setting up ------------------------------------------------------------------ */

static void load_free(struct load *load)
{
    mem_free(load->request);
    mem_free(load->works);
    mem_free(load->pointers);
}

static bool request_init(struct load *load, const struct options *o)
{
    size_t size =
        160 + o->method_name.len + o->url.target.len + o->url.authority.len + o->content.len;
    bool has_content = o->content.len > 0 || o->method == METHOD_POST || o->method == METHOD_PUT;
    bool has_host = false;
    int n;

    for (unsigned i = 0; i < o->field_count; i++) {
        size += strlen(o->fields[i]) + 2;
        has_host |= span_equal_nocase(span_first(span_of(o->fields[i]), 5), SPAN("host:"));
    }
    load->request = mem_alloc(size);
    if (!load->request)
        return false;
    n = snprintf(load->request, size, "%.*s %.*s HTTP/1.1\r\n", SPAN_ARG(o->method_name),
                 SPAN_ARG(o->url.target));
    if (!has_host)
        n += snprintf(load->request + n, size - (size_t)n, "Host: %.*s\r\n",
                      SPAN_ARG(o->url.authority));
    for (unsigned i = 0; i < o->field_count; i++)
        n += snprintf(load->request + n, size - (size_t)n, "%s\r\n", o->fields[i]);
    if (o->close)
        n += snprintf(load->request + n, size - (size_t)n, "Connection: close\r\n");
    if (has_content)
        n += snprintf(load->request + n, size - (size_t)n, "Content-Length: %zu\r\n",
                      o->content.len);
    n += snprintf(load->request + n, size - (size_t)n, "\r\n%.*s", SPAN_ARG(o->content));
    load->request_len = (size_t)n;
    return true;
}

static bool load_init(struct load *load, const struct options *o, const _Atomic bool *stop,
                      uint64_t planned)
{
    *load = (struct load){
        .closed = o->closed,
        .interval_ns = o->closed ? 0 : 1e9 / o->rate,
        .duration_ns = o->requests ? TIME_NEVER : o->duration_ns,
        .patience_ns = o->timeout_ns,
        .crews = (unsigned)o->threads,
        .works = mem_zalloc(o->threads * sizeof *load->works),
        .pointers = mem_zalloc(o->threads * sizeof *load->pointers),
    };
    if (!load->works || !load->pointers || !request_init(load, o)) {
        load_free(load);
        return false;
    }
    for (unsigned i = 0; i < load->crews; i++) {
        load->works[i] = (struct load_work){
            .work = {.next = load_next,
                     .write = load_write,
                     .good = load_good,
                     .pump = o->closed ? load_pump_closed : load_pump,
                     .exhausted = load_exhausted,
                     .method = o->method,
                     .request_max = load->request_len},
            .load = load,
            .stop = stop,
            .crew = i,
            .count = planned ? planned / load->crews + (i < planned % load->crews) : UINT64_MAX,
        };
        load->pointers[i] = &load->works[i].work;
    }
    return true;
}

/* --- the run ---------------------------------------------------------------------- */

static uint64_t slo_measured(const struct slo *slo, const struct histogram *h)
{
    switch (slo->kind) {
    case SLO_MAX:
        return h->most;
    case SLO_MEAN:
        return histogram_mean(h);
    default:
        return histogram_percentile(h, slo->percent);
    }
}

int load_run(const struct options *o, struct server *server, const _Atomic bool *stop)
{
    uint64_t planned = o->requests;
    struct outcome *outcome = mem_zalloc(sizeof *outcome);
    char why[SERVER_WHY_MAX] = "out of memory";
    struct load_slo slo[SLOS_MAX];
    struct load load = {0};
    bool ok = false;

    if (planned == 0 && !o->closed) {
        planned = (uint64_t)(o->rate * (double)o->duration_ns / 1e9);
        planned = planned ? planned : 1;
    }
    if (!outcome || !load_init(&load, o, stop, planned) ||
        run_all(&(struct run){.options = o,
                              .server = server,
                              .stop = stop,
                              .works = load.pointers,
                              .crews = load.crews,
                              .planned = planned},
                outcome, why) < 0) {
        (void)fprintf(stderr, "headgate-bench: %s\n", why);
        goto out;
    }
    ok = tally_troubles(&outcome->tally) == 0 && !outcome->interrupted;
    for (unsigned i = 0; i < o->slo_count; i++) {
        slo[i].measured_ns = slo_measured(&o->slo[i], &outcome->tally.latency);
        slo[i].ok = outcome->tally.latency.count > 0 && slo[i].measured_ns < o->slo[i].limit_ns;
        ok &= slo[i].ok;
    }
    report_load(o, server, outcome, slo, ok);

out:
    load_free(&load);
    mem_free(outcome);
    return ok ? 0 : 1;
}
