#include "tests/unit/http/corpus.h"

#include <stdio.h>
#include <stdlib.h>

struct span corpus_read(const char *name)
{
    char path[4096];
    const char *dir = getenv("HEADGATE_TEST_DATA");
    char *text = NULL;
    size_t len = 0, room = 0, n;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir ? dir : DATA_DIR, name);
    if (!(file = fopen(path, "rb"))) {
        fprintf(stderr, "cannot open %s\n", path);
        abort();
    }
    do {
        if (room - len < 4096 && !(text = realloc(text, room += 65536)))
            abort();
        n = fread(text + len, 1, room - len, file);
        len += n;
    } while (n > 0);
    fclose(file);
    return (struct span){text, len};
}

void corpus_free(struct span file)
{
    free((char *)(uintptr_t)file.ptr);
}

struct span corpus_cut(struct span *rest, char by)
{
    struct span head = span_first(*rest, span_find(*rest, by));

    *rest = span_after(*rest, head.len < rest->len ? head.len + 1 : head.len);
    return head;
}

bool corpus_line(struct span *rest, struct span *line)
{
    if (rest->len == 0)
        return false;
    *line = corpus_cut(rest, '\n');
    return true;
}

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

size_t corpus_unescape(char *out, struct span text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' && i + 1 < text.len) {
            switch (c = text.ptr[++i]) {
            case 'r':
                c = '\r';
                break;
            case 'n':
                c = '\n';
                break;
            case 't':
                c = '\t';
                break;
            case '0':
                c = '\0';
                break;
            case 'x':
                if (i + 2 >= text.len)
                    abort();
                c = (char)(hex(text.ptr[i + 1]) << 4 | hex(text.ptr[i + 2]));
                i += 2;
                break;
            default:
                break;
            }
        }
        out[n++] = c;
    }
    return n;
}
