/* Plays what a fuzz target begins with, and then mutations of it, through
 * LLVMFuzzerTestOneInput(): all that libFuzzer is needed for is to look further.
 *
 * `fuzz_X [-n MUTATIONS] [-s SEED] [-w DIRECTORY] [FILE...]`: with files, plays those as
 * they are; -w writes the corpus as files for libFuzzer to begin with.
 */
#include "base/random.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/http/corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEEDS_MAX = 512, SIZE_MAX_BYTES = 4096 };

extern const unsigned fuzz_mutations __attribute__((weak)); /* most do not say */

static struct span seeds[SEEDS_MAX];
static size_t seed_count;

/* Two bytes of choices, which the targets of messages take first. */
static void seed_add(struct span escaped)
{
    char *bytes = malloc(escaped.len + 2);

    if (seed_count == SEEDS_MAX || !bytes)
        abort();
    memcpy(bytes, "\2\4", 2);
    seeds[seed_count++] = (struct span){bytes, 2 + corpus_unescape(bytes + 2, escaped)};
}

/* Messages are the lines between "=" lines, put together; of a table, the
 * first column. */
static void seeds_read(const char *name)
{
    struct span file = corpus_read(name), rest = file, line;
    bool messages = strstr(name, ".txt") != NULL;
    char *text = malloc(file.len + 1);
    size_t len = 0;

    while (corpus_line(&rest, &line)) {
        if (line.len > 0 && line.ptr[0] == '#')
            continue;
        if (!messages) {
            seed_add(corpus_cut(&line, '\t'));
        } else if (line.len > 0 && line.ptr[0] == '=') {
            if (len > 0)
                seed_add((struct span){text, len});
            len = 0;
        } else {
            memcpy(text + len, line.ptr, line.len);
            len += line.len;
        }
    }
    if (len > 0)
        seed_add((struct span){text, len});
    free(text);
    corpus_free(file);
}

/* Bytes that parsers care about. */
static char interesting(struct random *r)
{
    static const char bytes[] = "\r\n\t :;,.%/\\?#*@[]\"0159afAF=-+\0\x7f\x80\xff";

    return bytes[random_below(r, sizeof bytes - 1)];
}

/* Bytes changed, put in, taken out, repeated, or spliced from another seed. */
static size_t mutate(struct random *r, char *bytes, size_t len)
{
    for (uint64_t times = 1 + random_below(r, 4); times > 0; times--) {
        size_t at = (size_t)random_below(r, len + 1);
        size_t n = 1 + (size_t)random_below(r, 8);
        const struct span *other = &seeds[random_below(r, seed_count)];
        switch (random_below(r, 5)) {
        case 0:
            if (at < len)
                bytes[at] = interesting(r);
            break;
        case 1:
            if (at < len)
                bytes[at] = (char)random_below(r, 256);
            break;
        case 2:
            if (len == SIZE_MAX_BYTES)
                break;
            memmove(bytes + at + 1, bytes + at, len - at);
            bytes[at] = interesting(r);
            len++;
            break;
        case 3:
            n = n < len - at ? n : len - at;
            memmove(bytes + at, bytes + at + n, len - at - n);
            len -= n;
            break;
        default:
            n = (size_t)random_below(r, other->len + 1);
            n = n < SIZE_MAX_BYTES - at ? n : SIZE_MAX_BYTES - at;
            memcpy(bytes + at, other->ptr + other->len - n, n);
            len = at + n > len ? at + n : len;
            break;
        }
    }
    return len;
}

static void play(const char *bytes, size_t len)
{
    LLVMFuzzerTestOneInput((const uint8_t *)bytes, len);
}

static void play_mutations(uint64_t count, uint64_t seed)
{
    struct random r = {seed};
    char bytes[SIZE_MAX_BYTES];

    for (uint64_t i = 0; i < count; i++) {
        const struct span *s = &seeds[random_below(&r, seed_count)];
        size_t len = s->len < sizeof bytes ? s->len : sizeof bytes;
        memcpy(bytes, s->ptr, len);
        play(bytes, mutate(&r, bytes, len));
    }
}

static void play_file(const char *name)
{
    static char bytes[1 << 20];
    FILE *file = fopen(name, "rb");

    if (!file) {
        perror(name);
        exit(1);
    }
    play(bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
}

static void write_seeds(const char *directory)
{
    char name[4096];

    for (size_t i = 0; i < seed_count; i++) {
        snprintf(name, sizeof name, "%s/%zu", directory, i);
        FILE *file = fopen(name, "wb");
        if (!file || fwrite(seeds[i].ptr, 1, seeds[i].len, file) != seeds[i].len ||
            fclose(file) != 0) {
            perror(name);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t mutations = &fuzz_mutations ? fuzz_mutations : 20000, seed = 1;
    int c;

    for (size_t i = 0; fuzz_corpus[i]; i++)
        seeds_read(fuzz_corpus[i]);
    while ((c = getopt(argc, argv, "n:s:w:")) != -1) {
        if (c == 'n')
            mutations = strtoull(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            write_seeds(optarg);
        else
            return 2;
    }
    for (int i = optind; i < argc; i++)
        play_file(argv[i]);
    if (optind == argc) {
        printf("1..2\n");
        for (size_t i = 0; i < seed_count; i++)
            play(seeds[i].ptr, seeds[i].len);
        printf("ok 1 - the corpus gives one answer, %zu inputs\n", seed_count);
        fflush(stdout);
        play_mutations(mutations, seed);
        printf("ok 2 - mutations give one answer, %llu inputs\n", (unsigned long long)mutations);
    }
    for (size_t i = 0; i < seed_count; i++)
        free((char *)(uintptr_t)seeds[i].ptr);
    return 0;
}
