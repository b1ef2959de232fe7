/* Sticky sessions; see sticky.h. */
#include "gate/sticky.h"

#include "base/hash.h"

enum { DIGITS = 16 };

uint64_t sticky_number(const struct address *at)
{
    char text[ADDRESS_TEXT_MAX];
    uint64_t n = hash_text((struct span){text, address_print(at, text)});

    return n ? n : 1;
}

/* Sixteen digits as we write them, and nothing else; 0: it is not. */
static uint64_t number_of(struct span value)
{
    uint64_t n = 0;

    if (value.len != DIGITS)
        return 0;
    for (size_t i = 0; i < DIGITS; i++) {
        char c = value.ptr[i];
        if (c >= '0' && c <= '9')
            n = n << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            n = n << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return n;
}

uint64_t sticky_next(const struct sticky_conf *conf, const struct exchange *x,
                     struct cookie_walk *walk)
{
    struct span name, value;

    while (cookie_next(x, walk, &name, &value)) {
        uint64_t n = span_equal(name, conf->cookie) ? number_of(value) : 0;
        if (n)
            return n;
    }
    return 0;
}

bool sticky_set(const struct sticky_conf *conf, struct exchange *x, uint64_t number)
{
    struct cookie_walk walk = {0};

    for (uint64_t n; (n = sticky_next(conf, x, &walk)) > 0;)
        if (n == number)
            return true;
    struct span value = arena_print(exchange_arena(x), "%.*s=%016llx%.*s", SPAN_ARG(conf->cookie),
                                    (unsigned long long)number, SPAN_ARG(conf->attributes));
    return value.ptr && response_field(x, FIELD_SET_COOKIE, value) == 0;
}
