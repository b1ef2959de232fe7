/* Configured without c-ares: names are asked of the system, once; see lookup.h.
 *
 * The call blocks, so a thread makes it, one name after the other.  It does not
 * say how long the answer holds.
 */
#include "net/lookup.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

const char *const resolver_library = NULL;

struct system {
    struct resolver base;
    void (*tell)(void);
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct link_node asked, answered;
    bool started, calling, stop;
    pthread_t thread;
};

static void take_all(struct lookup *l, const struct addrinfo *list)
{
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        struct found f = {0};
        if (a->ai_family == AF_INET) {
            const struct sockaddr_in *in = (const void *)a->ai_addr;
            f.at.family = ADDRESS_IPV4;
            memcpy(f.at.ip, &in->sin_addr, 4);
        } else {
            const struct sockaddr_in6 *in = (const void *)a->ai_addr;
            f.at.family = ADDRESS_IPV6;
            f.at.scope = in->sin6_scope_id;
            memcpy(f.at.ip, &in->sin6_addr, 16);
        }
        lookup_add(l, &f);
    }
}

static void call(struct lookup *l)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6}; /* enum address_family */
    struct addrinfo hints = {.ai_family = families[l->family], .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int error = getaddrinfo(l->name, NULL, &hints, &list);

    l->count = l->left_out = 0;
    l->partial = false;
    l->ttl = LOOKUP_TTL_NONE;
    l->fail = 0;
    if (error == 0)
        take_all(l, list);
    if (list)
        freeaddrinfo(list);
    if (l->count > 0 || lookup_localhost(l))
        return;
    l->why = gai_strerror(error);
    l->ttl = 0;
    l->fail = error == 0 || error == EAI_NONAME ? FAIL_NOT_FOUND
              : error == EAI_MEMORY             ? FAIL_MEMORY
                                                : FAIL_IO;
}

static void *system_main(void *data)
{
    struct system *s = data;

    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        struct link_node *n = list_pop(&s->asked);
        if (!n) {
            pthread_cond_wait(&s->news, &s->lock);
            continue;
        }
        s->calling = true;
        pthread_mutex_unlock(&s->lock);
        call(container_of(n, struct lookup, node));
        pthread_mutex_lock(&s->lock);
        s->calling = false;
        list_append(&s->answered, n);
        if (s->stop)
            break;
        s->tell();
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static struct system *of(struct resolver *r)
{
    return container_of(r, struct system, base);
}

static bool system_set(struct resolver *r, const struct resolver_options *options)
{
    (void)r;
    (void)options; /* there are none that the system could be told */
    return true;
}

static void system_ask(struct resolver *r, struct lookup *l)
{
    struct system *s = of(r);

    pthread_mutex_lock(&s->lock);
    s->started = s->started || pthread_create(&s->thread, NULL, system_main, s) == 0;
    if (s->started) {
        list_append(&s->asked, &l->node);
        pthread_cond_signal(&s->news);
    } else {
        l->count = 0;
        l->fail = FAIL_MEMORY;
        l->why = "no thread";
        list_append(&s->answered, &l->node);
        s->tell();
    }
    pthread_mutex_unlock(&s->lock);
}

static struct lookup *system_take(struct resolver *r)
{
    struct system *s = of(r);

    pthread_mutex_lock(&s->lock);
    struct link_node *n = list_pop(&s->answered);
    pthread_mutex_unlock(&s->lock);
    return n ? container_of(n, struct lookup, node) : NULL;
}

/* A call that does not return cannot be ended: it, and the lookup that it writes
 * to, are left behind with the process. */
static bool system_free(struct resolver *r)
{
    struct system *s = of(r);

    pthread_mutex_lock(&s->lock);
    bool join = s->started && !s->calling, leave = s->calling;
    s->stop = true;
    pthread_cond_signal(&s->news);
    pthread_mutex_unlock(&s->lock);
    if (leave)
        return false;
    if (join)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->news);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
    return true;
}

struct resolver *resolver_new(void (*tell)(void))
{
    struct system *s = mem_zalloc(sizeof *s);

    if (!s)
        return NULL;
    s->base = (struct resolver){system_set, system_ask, system_take, system_free};
    s->tell = tell;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->news, NULL);
    list_init(&s->asked);
    list_init(&s->answered);
    return &s->base;
}
