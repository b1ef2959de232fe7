/* The challenge's events: what event i says, its bytes on the wire, and what n
 * of them must add up to.
 *
 * A million requests are written per run, on the machine that also serves
 * them: so a request is two copies of prepared text and a few digits.
 */
#include "event.h"

#include "base/mem.h"

#include <stdio.h>

static const char CONTENT_BEGIN[] = "{\"userId\":\"";
static const char CONTENT_MIDDLE[] = "\",\"value\":";
static const char CONTENT_END[] = ".5}";

enum { DIGITS_MAX = 20 };

static size_t digits_count(uint64_t n)
{
    size_t count = 1;

    while (n >= 10) {
        n /= 10;
        count++;
    }
    return count;
}

/* Writes n in `count` digits; returns the end. */
static char *digits_write(char *out, uint64_t n, size_t count)
{
    for (size_t i = count; i-- > 0; n /= 10)
        out[i] = (char)('0' + n % 10);
    return out + count;
}

static char *text_write(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return out + len;
}

char *event_target(const struct url *url, const char *name)
{
    struct span base = span_first(url->target, span_find(url->target, '?'));
    size_t size;
    char *target;

    while (base.len > 0 && base.ptr[base.len - 1] == '/')
        base.len--;
    size = base.len + strlen(name) + 1;
    target = mem_alloc(size);
    if (target)
        (void)snprintf(target, size, "%.*s%s", SPAN_ARG(base), name);
    return target;
}

bool event_form_init(struct event_form *f, const struct url *url, struct span prefix,
                     uint64_t users)
{
    char *target = event_target(url, "/event");
    size_t size = (target ? strlen(target) : 0) + url->authority.len + 160;

    *f = (struct event_form){.users = users};
    f->head = mem_alloc(size);
    f->content = mem_alloc(prefix.len + 32);
    if (!target || !f->head || !f->content) {
        mem_free(target);
        event_form_free(f);
        return false;
    }
    (void)snprintf(f->head, size,
                   "POST %s HTTP/1.1\r\n"
                   "Host: %.*s\r\n"
                   "Content-Type: application/json\r\n"
                   "Content-Length: ",
                   target, SPAN_ARG(url->authority));
    (void)snprintf(f->content, prefix.len + 32, "\r\n\r\n%s%.*s", CONTENT_BEGIN, SPAN_ARG(prefix));
    f->head_len = strlen(f->head);
    f->content_len = strlen(f->content);
    f->fixed_len = f->content_len - 4 + strlen(CONTENT_MIDDLE) + strlen(CONTENT_END);
    f->request_max = f->head_len + f->content_len + strlen(CONTENT_MIDDLE) + strlen(CONTENT_END) +
                     (size_t)3 * DIGITS_MAX;
    mem_free(target);
    return true;
}

void event_form_free(struct event_form *f)
{
    mem_free(f->head);
    mem_free(f->content);
    *f = (struct event_form){0};
}

size_t event_write(const struct event_form *f, uint64_t i, char *out)
{
    uint64_t user = i % f->users, value = i % EVENT_VALUES;
    size_t user_len = digits_count(user), value_len = digits_count(value);
    size_t length = f->fixed_len + user_len + value_len;
    char *at = text_write(out, f->head, f->head_len);

    at = digits_write(at, length, digits_count(length));
    at = text_write(at, f->content, f->content_len);
    at = digits_write(at, user, user_len);
    at = text_write(at, CONTENT_MIDDLE, sizeof CONTENT_MIDDLE - 1);
    at = digits_write(at, value, value_len);
    at = text_write(at, CONTENT_END, sizeof CONTENT_END - 1);
    return (size_t)(at - out);
}

uint64_t events_users(uint64_t n, uint64_t users)
{
    return n < users ? n : users;
}

/* Twice the sum is a whole number: a full round of values counts 1000 × 1000,
 * and the first r of a round r × r.  It becomes a double with one rounding,
 * and halving is exact. */
double events_sum(uint64_t n)
{
    uint64_t rounds = n / EVENT_VALUES, rest = n % EVENT_VALUES;
    uint64_t twice = rounds * EVENT_VALUES * EVENT_VALUES + rest * rest;

    return (double)twice / 2;
}
