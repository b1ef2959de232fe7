/* Answers of DNS, whoever they come from: what is read of one is whole, of the type that was
 * asked for, and does not depend on what is behind it. */
#include "base/fail.h"
#include "net/dns.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

const char *const fuzz_corpus[] = {"dns.txt", NULL};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Labels of text in lower case with single dots between them; "": the root. */
static void check_name(const char *name)
{
    size_t len = strlen(name);

    require(len <= DNS_NAME_MAX);
    require(len == 0 || (name[0] != '.' && name[len - 1] != '.'));
    for (size_t i = 0; i < len; i++) {
        require(name[i] > ' ' && name[i] < 0x7f && !(name[i] >= 'A' && name[i] <= 'Z'));
        require(name[i] != '.' || name[i + 1] != '.');
    }
}

static void check_records(const struct dns_answer *a, uint16_t type)
{
    for (unsigned i = 0; i < a->count; i++) {
        const struct dns_record *r = &a->list[i];
        if (type == DNS_SRV)
            check_name(r->target);
        else
            require(r->ip.family == (type == DNS_A ? ADDRESS_IPV4 : ADDRESS_IPV6) &&
                    r->target[0] == '\0');
    }
}

static bool is_same(const struct dns_answer *a, const struct dns_answer *b)
{
    return a->ttl == b->ttl && a->count == b->count &&
           memcmp(a->list, b->list, a->count * sizeof *a->list) == 0;
}

/* In memory of exactly its size, for the sanitizers. */
static int read_copy(struct dns_answer *a, const uint8_t *data, size_t size, uint16_t type)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    if (size > 0)
        memcpy(copy, data, size);
    int err = dns_read(a, copy, size, type);
    free(copy);
    return err;
}

static void check(const uint8_t *data, size_t size, uint16_t type)
{
    static struct dns_answer a, more;
    static uint8_t longer[8192];

    int err = read_copy(&a, data, size, type);
    require(err == 0 || err == FAIL_BAD || err == FAIL_NOT_FOUND);
    if (err == FAIL_BAD)
        return;
    require((err == 0) == (a.count > 0) && a.count <= DNS_RECORDS_MAX && a.ttl <= INT32_MAX);
    check_records(&a, type);
    if (err < 0 || size + 2 > sizeof longer)
        return;
    memcpy(longer, data, size);
    memcpy(longer + size, "\xc0\x0c", 2); /* pointers lead back only: nobody gets there */
    require(read_copy(&more, longer, size + 2, type) == 0 && is_same(&a, &more));
}

/* The first two bytes are other targets' choices. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    check(data + 2, size - 2, DNS_A);
    check(data + 2, size - 2, DNS_AAAA);
    check(data + 2, size - 2, DNS_SRV);
    return 0;
}
