/* Relative paths begin from the folder of the file they are written in. */
#include "conf/conf.h"

/* Takes "//" and "./" out, in place; of nothing else "." is left.  ".." stays: through a link it is
 * not what it looks like. */
static size_t tidy(char *path, size_t len)
{
    size_t out = 0;

    if (len > 0 && path[0] == '/')
        path[out++] = '/';
    for (size_t at = out, end; at < len; at = end + 1) {
        for (end = at; end < len && path[end] != '/';)
            end++;
        if (end == at || (end == at + 1 && path[at] == '.'))
            continue;
        memmove(path + out, path + at, end - at);
        out += end - at;
        if (end < len)
            path[out++] = '/';
    }
    if (out == 0 && len > 0)
        path[out++] = '.';
    return out;
}

static struct span join(struct arena *arena, struct span folder, struct span path)
{
    struct span slash = folder.len && folder.ptr[folder.len - 1] != '/' ? SPAN("/") : SPAN("");
    struct span begin = arena_join(arena, folder, slash);

    if (!begin.ptr)
        return begin;
    struct span whole = arena_join(arena, begin, path);
    if (whole.ptr)
        whole.len = tidy((char *)(uintptr_t)whole.ptr, whole.len);
    return whole;
}

struct span conf_join(struct arena *arena, const char *file, struct span path)
{
    struct span folder = span_of(file);

    while (folder.len > 0 && folder.ptr[folder.len - 1] != '/')
        folder.len--;
    if (path.len > 0 && path.ptr[0] == '/')
        folder.len = 0;
    return join(arena, folder, path);
}

struct span conf_resolve(const struct conf *conf, const char *file, struct span path)
{
    struct span whole = conf_join(conf->arena, file, path);

    if (whole.len == 0 || whole.ptr[0] == '/' || !conf->source || !conf->source->folder)
        return whole;
    return join(conf->arena, conf->source->folder(conf->source->data, conf->arena), whole);
}
