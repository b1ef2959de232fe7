/* Targets, paths and hosts: a normal form is its own normal form and climbs
 * nowhere, whoever decodes it. */
#include "http/target.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

const char *const fuzz_corpus[] = {"paths.tsv", NULL};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* No segment is empty or a dot segment, with or without parameters. */
static void check_segments(struct span s)
{
    size_t i = 0;

    require(s.len > 0 && s.ptr[0] == '/');
    while (i < s.len) {
        struct span segment = span_after(s, i + 1);
        segment = span_first(segment, span_find(segment, '/'));
        struct span name = span_first(segment, span_find(segment, ';'));
        require(segment.len > 0 || i + 1 == s.len);
        require(!span_equal(name, SPAN(".")) && !span_equal(name, SPAN("..")));
        i += 1 + segment.len;
    }
}

static void check_path(struct span sent, struct arena *a)
{
    struct path p, again;

    if (path_normalise(&p, sent, a) != PATH_OK || span_equal(sent, SPAN("*")))
        return;
    check_segments(p.normal);
    require(path_normalise(&again, p.normal, NULL) == PATH_OK);
    require(again.normal.ptr == p.normal.ptr && again.normal.len == p.normal.len);
    require(!again.had_dots && again.has_encoded_slash <= p.has_encoded_slash);

    /* Decoded once more, as a file name would be, it still climbs nowhere. */
    struct span decoded = percent_decode(a, p.normal, false);
    require(decoded.ptr && span_find(decoded, '\0') == decoded.len);
    struct span rest = decoded;
    while (rest.len > 0) {
        size_t len = 0;
        while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '\\')
            len++;
        require(!span_equal(span_first(rest, len), SPAN("..")));
        rest = span_after(rest, len < rest.len ? len + 1 : len);
    }
}

static void check_host(struct span s)
{
    char scratch[256];
    struct span name, port, again;

    require(host_is_valid(s) == host_parse(s, scratch, &name, &port));
    if (!host_is_valid(s))
        return;
    char copy[256];
    require(name.len < sizeof copy && (name.len == 0 || name.ptr[name.len - 1] != '.'));
    memcpy(copy, name.ptr, name.len);
    require(host_parse((struct span){copy, name.len}, NULL, &again, &port)); /* nothing to change */
    require(span_equal(again, name));
}

static void check_target(struct span s)
{
    struct target t;

    if (!target_parse(&t, s))
        return;
    for (size_t i = 0; i < s.len; i++)
        require(s.ptr[i] > ' ' && s.ptr[i] < 127 && s.ptr[i] != '#');
    if (t.form == TARGET_ORIGIN)
        require(t.path.len + t.has_query + t.query.len == s.len);
    if (t.form == TARGET_ABSOLUTE || t.form == TARGET_AUTHORITY)
        require(t.authority.len > 0 && host_is_valid(t.authority));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    char *copy = malloc(size ? size : 1); /* exact, for the sanitizers */
    struct span value;

    if (size > 0)
        memcpy(copy, data, size);
    struct span s = {copy, size};
    check_path(s, &arena);
    check_host(s);
    check_target(s);
    percent_decode(&arena, s, true);
    query_find(s, span_first(s, 3), &value);
    arena_free(&arena);
    free(copy);
    return 0;
}
