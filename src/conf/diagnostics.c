/* What is wrong, collected in any order, told in the order of the files. */
#include "conf/conf.h"

#include <stdarg.h>
#include <stdio.h>

struct diagnostics_file {
    struct diagnostics_file *next;
    const char *name;
};

void diagnostics_memory(struct diagnostics *d)
{
    if (!d->memory)
        d->errors++;
    d->memory = true;
}

/* Our own copy of a file's name; NULL: no memory, or no file. */
static const char *file_name(struct diagnostics *d, const char *name)
{
    struct diagnostics_file **at = &d->files;

    if (!name)
        return NULL;
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->name, name) == 0)
            return (*at)->name;
    struct diagnostics_file *file = arena_zalloc(d->arena, sizeof *file);
    const char *copy = arena_text(d->arena, span_of(name));
    if (!file || !copy) {
        diagnostics_memory(d);
        return NULL;
    }
    file->name = copy;
    *at = file;
    return copy;
}

void diagnostics_file(struct diagnostics *d, const char *name)
{
    file_name(d, name);
}

static struct diagnostic *diagnostic_new(struct diagnostics *d, const char *format, va_list args)
{
    va_list again;

    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    struct diagnostic *new = arena_zalloc(d->arena, sizeof *new);
    char *text = n < 0 ? NULL : arena_alloc(d->arena, (size_t)n + 1);
    if (!new || !text)
        return NULL;
    vsnprintf(text, (size_t)n + 1, format, args);
    new->text = (struct span){text, (size_t)n};
    return new;
}

/* A value that many sections inherit is wrong only once. */
static bool was_said(const struct diagnostics *d, const struct diagnostic *new)
{
    for (const struct diagnostic *one = d->first; one; one = one->next)
        if (one->severity == new->severity && one->at.file == new->at.file &&
            one->at.line == new->at.line &&
            one->at.column == new->at.column &&span_equal(one->text, new->text))
            return true;
    return false;
}

void diagnostics_say(struct diagnostics *d, enum severity severity, struct position at,
                     const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct diagnostic *new = diagnostic_new(d, format, args);
    va_end(args);
    if (!new) {
        diagnostics_memory(d);
        return;
    }
    new->severity = severity;
    new->at = (struct position){file_name(d, at.file), at.line, at.column};
    if (severity == SEVERITY_ERROR && was_said(d, new))
        return;
    if (severity == SEVERITY_WARNING)
        d->warnings++;
    if (severity == SEVERITY_ERROR && d->errors++ >= DIAGNOSTICS_MAX) {
        d->dropped++;
        return;
    }
    if (!d->last)
        d->last = &d->first;
    *d->last = new;
    d->last = &new->next;
}

static unsigned file_order(const struct diagnostics *d, const char *name)
{
    unsigned n = 0;

    for (const struct diagnostics_file *f = d->files; f && f->name != name; f = f->next)
        n++;
    return n;
}

static bool comes_before(const struct diagnostics *d, struct position a, struct position b)
{
    if (a.file != b.file)
        return file_order(d, a.file) < file_order(d, b.file);
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

/* Insertion, stable: what was said first about a place stays first. */
static void sort(struct diagnostics *d)
{
    struct diagnostic *sorted = NULL, *next;

    for (struct diagnostic *new = d->first; new; new = next) {
        struct diagnostic **at = &sorted;
        next = new->next;
        while (*at && !comes_before(d, new->at, (*at)->at))
            at = &(*at)->next;
        new->next = *at;
        *at = new;
    }
    d->first = sorted;
    d->last = &d->first;
    while (*d->last)
        d->last = &(*d->last)->next;
}

static struct span print(struct diagnostics *d, const struct diagnostic *one)
{
    static const char *const names[] = {"error", "warning", "notice"};
    const char *severity = names[one->severity];

    if (!one->at.file)
        return arena_print(d->arena, "%s: %.*s", severity, SPAN_ARG(one->text));
    return arena_print(d->arena, "%s:%u:%u: %s: %.*s", one->at.file, one->at.line, one->at.column,
                       severity, SPAN_ARG(one->text));
}

void diagnostics_print(struct diagnostics *d, void (*line)(void *data, struct span text),
                       void *data)
{
    sort(d);
    for (const struct diagnostic *one = d->first; one; one = one->next) {
        struct span text = print(d, one);
        line(data, text.ptr ? text : one->text);
    }
    if (d->dropped) {
        struct span text = arena_print(d->arena, "error: %u more", d->dropped);
        line(data, text.ptr ? text : SPAN("error: more"));
    }
    if (d->memory)
        line(data, SPAN("error: out of memory"));
}
