/* What a run says at its end, for people or as one JSON object, on stdout. */
#include "report.h"

#include "base/number.h"

#include <stdio.h>

static const double percents[] = {50, 90, 99, 99.9, 99.99};

/* "%g" of them, in JSON keys and headings. */
static const char *const percent_names[] = {"p50", "p90", "p99", "p99.9", "p99.99"};

/* --- for people -------------------------------------------------------------------- */

enum { TIME_TEXT_MAX = 32 };

static const char *time_text(uint64_t ns, char out[TIME_TEXT_MAX])
{
    if (ns < 10000)
        (void)snprintf(out, TIME_TEXT_MAX, "%.2fus", (double)ns / 1e3);
    else if (ns < NS_PER_MS)
        (void)snprintf(out, TIME_TEXT_MAX, "%.0fus", (double)ns / 1e3);
    else if (ns < NS_PER_S)
        (void)snprintf(out, TIME_TEXT_MAX, "%.2fms", (double)ns / 1e6);
    else
        (void)snprintf(out, TIME_TEXT_MAX, "%.2fs", (double)ns / 1e9);
    return out;
}

static void print_histogram(const char *name, const struct histogram *h)
{
    char text[TIME_TEXT_MAX];

    printf("%-10s", name);
    if (h->count == 0) {
        puts("-");
        return;
    }
    printf("min %s", time_text(h->least, text));
    for (unsigned i = 0; i < COUNT_OF(percents); i++)
        printf("  %s %s", percent_names[i], time_text(histogram_percentile(h, percents[i]), text));
    printf("  max %s", time_text(h->most, text));
    printf("  mean %s\n", time_text(histogram_mean(h), text));
}

static void print_troubles(const struct tally *t)
{
    if (tally_troubles(t) == 0) {
        puts("errors    none");
        return;
    }
    printf("errors    %llu\n", (unsigned long long)tally_troubles(t));
    for (int i = 0; i < TROUBLE_COUNT; i++)
        if (t->trouble[i] > 0)
            printf("  %10llu %s: %s\n", (unsigned long long)t->trouble[i],
                   trouble_name((enum trouble)i), trouble_meaning((enum trouble)i));
}

static double per_second(uint64_t count, const struct outcome *outcome)
{
    return (double)count * 1e9 / (double)outcome->elapsed_ns;
}

static void print_outcome(const struct options *o, const struct server *server,
                          const struct outcome *outcome, const char *what)
{
    const struct tally *t = &outcome->tally;
    char text[TIME_TEXT_MAX];

    printf("%-10s%llu of %llu in %s, %.0f/s, %.2f MB/s in, %.2f MB/s out\n", what,
           (unsigned long long)t->latency.count, (unsigned long long)outcome->planned,
           time_text(outcome->elapsed_ns, text), per_second(t->latency.count, outcome),
           per_second(t->bytes_in, outcome) / 1e6, per_second(t->bytes_out, outcome) / 1e6);
    printf("%-10s%llu connections, %llu opened again; %llu thread%s; engine %s\n", "with",
           (unsigned long long)o->connections, (unsigned long long)t->reconnects,
           (unsigned long long)(o->threads * o->clients), o->threads * o->clients == 1 ? "" : "s",
           io_backend_name(server->backend));
    print_histogram("latency", &t->latency);
}

static void print_verdict(const struct verdict *v)
{
    printf("%-10s%-20s%-20s\n", "/stats", "expected", "found");
    for (unsigned i = 0; i < VERDICT_CHECKS; i++) {
        const struct verdict_check *c = &v->checks[i];
        printf("  %-8s%-20s%-20s%s  %s\n", c->name, c->want, c->got, c->ok ? "ok   " : "WRONG",
               c->note);
    }
}

/* --- as JSON ------------------------------------------------------------------------ */

static void json_text(const char *name, struct span s)
{
    printf(",\"%s\":\"", name);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < ' ')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void json_count(const char *name, uint64_t n)
{
    printf(",\"%s\":%llu", name, (unsigned long long)n);
}

static void json_number(const char *name, double value)
{
    char text[NUMBER_TEXT_MAX];

    printf(",\"%s\":%.*s", name, (int)number_print(value, text), text);
}

static void json_histogram(const char *name, const struct histogram *h)
{
    printf(",\"%s\":{\"count\":%llu", name, (unsigned long long)h->count);
    json_number("min", (double)h->least / 1e3);
    for (unsigned i = 0; i < COUNT_OF(percents); i++)
        json_number(percent_names[i], (double)histogram_percentile(h, percents[i]) / 1e3);
    json_number("max", (double)h->most / 1e3);
    json_number("mean", (double)histogram_mean(h) / 1e3);
    putchar('}');
}

static void json_errors(const struct tally *t)
{
    const char *comma = "";

    printf(",\"errors\":{");
    for (int i = 0; i < TROUBLE_COUNT; i++) {
        if (t->trouble[i] == 0)
            continue;
        printf("%s\"%s\":%llu", comma, trouble_name((enum trouble)i),
               (unsigned long long)t->trouble[i]);
        comma = ",";
    }
    putchar('}');
}

static void json_outcome(const char *scenario, const struct options *o, const struct server *server,
                         const struct outcome *outcome, bool ok)
{
    const struct tally *t = &outcome->tally;

    printf("{\"scenario\":\"%s\"", scenario);
    json_text("url", o->url.text);
    json_text("engine", span_of(io_backend_name(server->backend)));
    printf(",\"ok\":%s,\"interrupted\":%s", ok ? "true" : "false",
           outcome->interrupted ? "true" : "false");
    json_count("connections", o->connections);
    json_count("threads", o->threads * o->clients);
    json_count("planned", outcome->planned);
    json_count("answered", t->latency.count);
    json_count("good", t->good);
    json_number("seconds", (double)outcome->elapsed_ns / 1e9);
    json_number("per_second", per_second(t->latency.count, outcome));
    json_count("bytes_in", t->bytes_in);
    json_count("bytes_out", t->bytes_out);
    json_count("connects", t->connects);
    json_count("reconnects", t->reconnects);
    json_histogram("latency_us", &t->latency);
    json_count("error_count", tally_troubles(t));
    json_errors(t);
}

static void json_verdict(const struct verdict *v)
{
    printf(",\"verdict\":{\"ok\":%s,\"from_zero\":%s", v->ok ? "true" : "false",
           v->from_zero ? "true" : "false");
    for (unsigned i = 0; i < VERDICT_CHECKS; i++) {
        const struct verdict_check *c = &v->checks[i];
        printf(",\"%s\":{\"ok\":%s,\"expected\":%s,\"found\":%s", c->name, c->ok ? "true" : "false",
               c->want, c->got);
        json_text("compared", span_of(c->note));
        putchar('}');
    }
    putchar('}');
}

/* --- the two reports ---------------------------------------------------------------- */

void report_mrc(const struct options *o, const struct server *server, const struct outcome *outcome,
                const struct verdict *verdict, struct span prefix)
{
    bool ok =
        tally_troubles(&outcome->tally) == 0 && !outcome->interrupted && (!verdict || verdict->ok);

    if (o->json) {
        json_outcome("1mrc", o, server, outcome, ok);
        json_count("clients", o->clients);
        json_count("pipeline", o->pipeline);
        json_text("prefix", prefix);
        if (verdict)
            json_verdict(verdict);
        puts("}");
        return;
    }
    print_outcome(o, server, outcome, "events");
    print_troubles(&outcome->tally);
    if (verdict)
        print_verdict(verdict);
    printf("verdict   %s\n", !ok ? "FAILED" : verdict ? "exact" : "all answered; not verified");
}

void report_load(const struct options *o, const struct server *server,
                 const struct outcome *outcome, const struct load_slo *slo, bool ok)
{
    char text[TIME_TEXT_MAX];

    if (o->json) {
        json_outcome("load", o, server, outcome, ok);
        if (o->closed)
            printf(",\"rate\":null");
        else
            json_number("rate", o->rate);
        json_count("pipeline", o->pipeline);
        json_histogram("late_us", &outcome->tally.late);
        printf(",\"slo\":[");
        for (unsigned i = 0; i < o->slo_count; i++) {
            printf("%s{\"ok\":%s", i ? "," : "", slo[i].ok ? "true" : "false");
            json_text("limit", o->slo[i].text);
            json_number("measured_us", (double)slo[i].measured_ns / 1e3);
            putchar('}');
        }
        puts("]}");
        return;
    }
    print_outcome(o, server, outcome, "requests");
    if (!o->closed)
        print_histogram("sent late", &outcome->tally.late);
    print_troubles(&outcome->tally);
    for (unsigned i = 0; i < o->slo_count; i++)
        printf("slo       %.*s: %s  %s\n", SPAN_ARG(o->slo[i].text),
               time_text(slo[i].measured_ns, text), slo[i].ok ? "ok" : "FAILED");
    printf("verdict   %s\n", ok ? "fine" : "FAILED");
}
