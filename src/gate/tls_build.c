/* Contexts from sections and their files; see tls_build.h. */
#include "gate/tls_build.h"

#include "base/mem.h"

#include <string.h>
#include <time.h>

struct reading_files {
    struct arena arena;
    const struct tls_build *build;
    bool failed, no_memory;
};

static void read_one(struct reading_files *r, enum tls_about about, struct span path,
                     struct tls_file *f)
{
    const struct source *source = r->build->source;
    char *name = arena_text(&r->arena, path);
    int err = name ? source->read(source->data, &r->arena, name, &f->content) : FAIL_MEMORY;

    f->path = path;
    if (err == 0)
        return;
    f->content = (struct span){0};
    r->failed = true;
    r->no_memory = r->no_memory || err == FAIL_MEMORY;
    struct span text = arena_print(&r->arena, "%.*s: %s", SPAN_ARG(path), fail_text(err));
    r->build->say(r->build->say_data, about, false, text.ptr ? text : SPAN("out of memory"));
}

static void read_list(struct reading_files *r, enum tls_about about, const struct spans *paths,
                      struct tls_files *files)
{
    if (paths->count == 0)
        return;
    if (!(files->list = arena_zalloc(&r->arena, paths->count * sizeof *files->list))) {
        r->failed = r->no_memory = true;
        return;
    }
    files->count = paths->count;
    for (unsigned i = 0; i < paths->count; i++)
        read_one(r, about, paths->list[i], &files->list[i]);
}

static void wipe(const struct tls_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        if (files->list[i].content.len > 0)
            explicit_bzero((char *)(uintptr_t)files->list[i].content.ptr,
                           files->list[i].content.len);
}

int tls_build(struct tls_context **out, const struct tls_conf *c, const struct tls_build *build)
{
    struct reading_files r = {.build = build};
    struct tls_settings s = {
        .section = c->name,
        .names = c->names.list,
        .name_count = c->names.count,
        .modern = c->modern,
        .ciphers = c->cipher_list,
        .suites = c->suite_list,
        .groups = c->group_list,
        .alpn = c->alpn.list,
        .alpn_count = c->alpn.count,
        .tickets = c->tickets,
        .ticket_rotation_ns = c->ticket_rotation,
        .secret = build->secret,
        .verify = c->verify,
        .hsts = c->hsts,
        .now = (int64_t)time(NULL),
        .say = build->say,
        .say_data = build->say_data,
    };

    read_list(&r, TLS_ABOUT_CERTIFICATE, &c->certificates, &s.certificates);
    read_list(&r, TLS_ABOUT_KEY, &c->keys, &s.keys);
    read_list(&r, TLS_ABOUT_TICKET_KEYS, &c->ticket_keys, &s.ticket_keys);
    read_list(&r, TLS_ABOUT_OCSP, &c->ocsp, &s.ocsp);
    if (c->client_ca.len > 0)
        read_one(&r, TLS_ABOUT_CLIENT_CA, c->client_ca, &s.client_ca);
    if (c->client_crl.len > 0)
        read_one(&r, TLS_ABOUT_CLIENT_CRL, c->client_crl, &s.client_crl);
    int err = r.no_memory ? FAIL_MEMORY : r.failed ? FAIL_BAD : 0;
    if (err == 0)
        err = build->layer->context_new(out, &s);
    wipe(&s.certificates);
    wipe(&s.keys);
    wipe(&s.ticket_keys);
    arena_free(&r.arena);
    return err;
}

int tls_client_build(struct tls_context **out, const struct upstream_conf *u,
                     const struct tls_build *build)
{
    struct reading_files r = {.build = build};
    struct tls_client_settings s = {.section = u->name,
                                    .name = u->tls_name,
                                    .verify = u->tls_verify,
                                    .alpn = u->protocols.list,
                                    .alpn_count = u->protocols.count,
                                    .now = (int64_t)time(NULL),
                                    .say = build->say,
                                    .say_data = build->say_data};

    if (u->tls_ca.len > 0)
        read_one(&r, TLS_ABOUT_CLIENT_CA, u->tls_ca, &s.ca);
    if (u->tls_certificate.len > 0)
        read_one(&r, TLS_ABOUT_CERTIFICATE, u->tls_certificate, &s.certificate);
    if (u->tls_key.len > 0)
        read_one(&r, TLS_ABOUT_KEY, u->tls_key, &s.key);
    int err = r.no_memory ? FAIL_MEMORY : r.failed ? FAIL_BAD : 0;
    if (err == 0)
        err = build->layer->client_new(out, &s);
    wipe(&(struct tls_files){&s.certificate, 1});
    wipe(&(struct tls_files){&s.key, 1});
    arena_free(&r.arena);
    return err;
}

struct span tls_client_key(const struct upstream_conf *u)
{
    return u->tls_key.len > 0 ? u->tls_key : u->tls_certificate;
}

/* --- the files of a section ---------------------------------------------------------- */

static unsigned files_lists(const struct tls_conf *c, const struct spans *lists[6],
                            struct spans single[2])
{
    static const unsigned count = 6;

    single[0] = (struct spans){(struct span *)(uintptr_t)&c->client_ca, c->client_ca.len > 0};
    single[1] = (struct spans){(struct span *)(uintptr_t)&c->client_crl, c->client_crl.len > 0};
    lists[0] = &c->certificates;
    lists[1] = &c->keys;
    lists[2] = &c->ticket_keys;
    lists[3] = &c->ocsp;
    lists[4] = &single[0];
    lists[5] = &single[1];
    return count;
}

unsigned tls_conf_files(const struct tls_conf *c)
{
    const struct spans *lists[6];
    struct spans single[2];
    unsigned n = 0;

    for (unsigned i = 0, count = files_lists(c, lists, single); i < count; i++)
        n += lists[i]->count;
    return n;
}

struct span tls_conf_file(const struct tls_conf *c, unsigned i)
{
    const struct spans *lists[6];
    struct spans single[2];

    for (unsigned l = 0, count = files_lists(c, lists, single); l < count; l++) {
        if (i < lists[l]->count)
            return lists[l]->list[i];
        i -= lists[l]->count;
    }
    return (struct span){0};
}

enum tls_about tls_conf_file_about(const struct tls_conf *c, unsigned i)
{
    static const enum tls_about abouts[] = {TLS_ABOUT_CERTIFICATE, TLS_ABOUT_KEY,
                                            TLS_ABOUT_TICKET_KEYS, TLS_ABOUT_OCSP,
                                            TLS_ABOUT_CLIENT_CA,   TLS_ABOUT_CLIENT_CRL};
    const struct spans *lists[6];
    struct spans single[2];
    unsigned l = 0;

    for (unsigned count = files_lists(c, lists, single); l + 1 < count; l++) {
        if (i < lists[l]->count)
            break;
        i -= lists[l]->count;
    }
    return abouts[l];
}

bool tls_conf_file_is_key(const struct tls_conf *c, unsigned i)
{
    enum tls_about about = tls_conf_file_about(c, i);

    return about == TLS_ABOUT_KEY || about == TLS_ABOUT_TICKET_KEYS ||
           (about == TLS_ABOUT_CERTIFICATE && c->keys.count == 0);
}

bool tls_key_is_loose(const struct source_look *look, const struct source_identity *us)
{
    return (look->mode & 0006) ||
           ((look->mode & 0060) && look->gid != 0 && !identity_has_group(us, look->gid));
}

int listener_set_new(const struct config *config, const struct listener_conf *c,
                     struct tls_set **out)
{
    struct tls_context **list = mem_alloc(c->tls_count * sizeof *list);

    if (!list)
        return FAIL_MEMORY;
    for (unsigned i = 0; i < c->tls_count; i++)
        list[i] = config->tls[c->tls[i]].context;
    int err = tls_set_new(out, list, c->tls_count, c->unknown_sni_refused);
    mem_free(list);
    return err;
}
