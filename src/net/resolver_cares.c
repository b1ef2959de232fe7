/* Asks DNS with c-ares, on a thread of its own; see lookup.h.
 *
 * Each lookup becomes one question or several (both families, the targets of a
 * service), and is answered when all of them are, or its time is over: what
 * comes for it later is thrown away.
 *
 * c-ares opens its sockets and says which it waits for; the thread waits for
 * those, for the next of its times and for main.
 */
#include "config.h"

#include "net/lookup.h"

#include "base/clock.h"
#include "base/fail.h"
#include "base/mem.h"
#include "net/dns.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Newer versions have other calls beside those that Debian 12's has. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { SOCKETS_MAX = 64, TARGETS_MAX = 16, TRIES = 3, HOSTS_TTL = 10, EDNS_SIZE = 1232 };
#define RESOLV_CONF "/etc/resolv.conf"

const char *const resolver_library = "c-ares " ARES_VERSION_STR;

/* A lookup on its way. */
struct search {
    struct link_node node;
    struct cares *owner;
    struct lookup *lookup; /* NULL: it was answered */
    uint64_t deadline;
    unsigned questions; /* that are not answered */
    int fail;           /* what the last that could not be asked for failed with */
    const char *why;
    uint32_t nothing_ttl;
};

/* One question of it. */
struct question {
    struct search *search;
    uint16_t type;
    uint16_t priority, weight, port; /* of the service whose target it is about */
};

struct cares {
    struct resolver base;
    void (*tell)(void);
    pthread_mutex_t lock; /* of what is between here and the next empty line */
    struct link_node asked, answered;
    char *servers; /* NULL: the system's */
    uint64_t timeout_ns;
    bool changed, stop;

    bool started;
    pthread_t thread;
    int wake[2];

    /* The thread's. */
    ares_channel channel;
    bool open;
    bool absolute; /* names are asked for as they are */
    uint64_t patience_ns;
    struct stat conf;
    struct link_node searches;
    struct pollfd sockets[SOCKETS_MAX];
    unsigned socket_count;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* --- answers -----------------------------------------------------------------------------------
 */

static void search_answer(struct search *s)
{
    struct cares *c = s->owner;
    struct lookup *l = s->lookup;

    s->lookup = NULL;
    if (!l)
        return;
    l->partial = s->fail != 0;
    l->fail = l->count > 0 ? 0 : s->fail ? s->fail : FAIL_NOT_FOUND;
    l->why = s->why;
    if (l->count == 0)
        l->ttl = s->nothing_ttl;
    pthread_mutex_lock(&c->lock);
    list_append(&c->answered, &l->node);
    pthread_mutex_unlock(&c->lock);
    c->tell();
}

/* One question less; with the last it is over. */
static void search_done(struct search *s)
{
    if (--s->questions > 0)
        return;
    search_answer(s);
    list_remove(&s->node);
    mem_free(s);
}

static void search_failed(struct search *s, int fail, const char *why)
{
    s->fail = fail;
    s->why = why;
}

static void holds_for(struct search *s, uint32_t ttl)
{
    if (s->lookup && ttl < s->lookup->ttl)
        s->lookup->ttl = ttl;
}

/* --- questions ---------------------------------------------------------------------------------
 */

static void answered(void *data, int status, int timeouts, unsigned char *bytes, int len);

static void ask(struct search *s, const char *name, const struct question *q)
{
    struct question *own = mem_alloc(sizeof *own);

    if (!own) {
        search_failed(s, FAIL_MEMORY, fail_text(FAIL_MEMORY));
        return;
    }
    *own = *q;
    own->search = s;
    s->questions++; /* it may be answered before this returns */
    if (s->owner->absolute)
        ares_query(s->owner->channel, name, ns_c_in, own->type, answered, own);
    else
        ares_search(s->owner->channel, name, ns_c_in, own->type, answered, own);
}

/* What /etc/hosts says of a name stands before DNS, if it has an address that can be used. */
static bool found_in_hosts(struct search *s, const char *name, uint16_t port)
{
    static const int families[] = {AF_INET, AF_INET6};
    bool found = false;

    for (size_t i = 0; i < COUNT_OF(families); i++) {
        struct hostent *host;
        if (ares_gethostbyname_file(s->owner->channel, name, families[i], &host) != ARES_SUCCESS)
            continue;
        for (char **at = host->h_addr_list; *at; at++) {
            struct found f = {.at.port = port};
            f.at.family = families[i] == AF_INET ? ADDRESS_IPV4 : ADDRESS_IPV6;
            memcpy(f.at.ip, *at, f.at.family == ADDRESS_IPV4 ? 4 : 16);
            if (s->lookup->family != ADDRESS_NONE && s->lookup->family != f.at.family)
                continue;
            lookup_add(s->lookup, &f);
            found = true;
        }
        ares_free_hostent(host);
    }
    if (found)
        holds_for(s, HOSTS_TTL);
    return found;
}

static void ask_addresses(struct search *s, const char *name, struct question q)
{
    uint8_t family = s->lookup->family;

    q.type = DNS_A;
    if (family != ADDRESS_IPV6)
        ask(s, name, &q);
    q.type = DNS_AAAA;
    if (family != ADDRESS_IPV4 && s->lookup)
        ask(s, name, &q);
}

/* Which services are asked for when not all are: by priority, then weight, and among equals always
 * the same, in whatever order they come: others each time would move traffic for nothing. */
static int service_order(const void *a, const void *b)
{
    const struct dns_record *x = a, *y = b;

    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    int order = strcmp(x->target, y->target);
    return order ? order : (x->port > y->port) - (x->port < y->port);
}

static void take_services(struct search *s, struct dns_answer *a)
{
    unsigned targets = 0;

    qsort(a->list, a->count, sizeof *a->list, service_order);
    s->lookup->left_out += a->left_out;
    for (unsigned i = 0; i < a->count && s->lookup; i++) {
        const struct dns_record *r = &a->list[i];
        struct question q = {.priority = r->priority, .weight = r->weight, .port = r->port};
        if (!r->target[0])
            continue;
        if (++targets <= TARGETS_MAX)
            ask_addresses(s, r->target, q);
        else
            s->lookup->left_out++;
    }
}

static void take_addresses(struct search *s, const struct question *q, const struct dns_answer *a)
{
    for (unsigned i = 0; i < a->count; i++) {
        struct found f = {a->list[i].ip, q->priority, q->weight};
        f.at.port = q->port;
        lookup_add(s->lookup, &f);
    }
}

static int status_fail(int status)
{
    switch (status) {
    case ARES_ETIMEOUT:
        return FAIL_TIMEOUT;
    case ARES_ECONNREFUSED:
        return FAIL_REFUSED;
    case ARES_ENOMEM:
        return FAIL_MEMORY;
    default:
        return FAIL_IO;
    }
}

static void take_answer(struct search *s, const struct question *q, int status,
                        const unsigned char *bytes, int len)
{
    struct dns_answer a = {0};
    bool nothing = status == ARES_ENOTFOUND || status == ARES_ENODATA;

    if (!nothing && status != ARES_SUCCESS) {
        search_failed(s, status_fail(status), ares_strerror(status));
        return;
    }
    int err = bytes ? dns_read(&a, bytes, (size_t)len, q->type) : FAIL_NOT_FOUND;
    if (err == FAIL_BAD) {
        search_failed(s, err, "an answer that is not well formed");
    } else if (err == FAIL_NOT_FOUND) {
        if (a.ttl < s->nothing_ttl)
            s->nothing_ttl = a.ttl;
    } else {
        holds_for(s, a.ttl);
        if (q->type == DNS_SRV)
            take_services(s, &a);
        else
            take_addresses(s, q, &a);
    }
}

static void answered(void *data, int status, int timeouts, unsigned char *bytes, int len)
{
    struct question *q = data;
    struct search *s = q->search;

    (void)timeouts;
    if (s->lookup)
        take_answer(s, q, status, bytes, len);
    mem_free(q);
    search_done(s);
}

static void search_begin(struct cares *c, struct lookup *l)
{
    struct search *s = mem_alloc(sizeof *s);

    l->fail = 0;
    l->count = l->left_out = 0;
    l->ttl = UINT32_MAX;
    l->partial = false;
    l->why = NULL;
    if (!s || !c->open) {
        mem_free(s);
        l->fail = FAIL_MEMORY;
        l->why = s ? "c-ares cannot be set up, for want of memory, of descriptors, or of leave to "
                     "read " RESOLV_CONF
                   : fail_text(FAIL_MEMORY);
        pthread_mutex_lock(&c->lock);
        list_append(&c->answered, &l->node);
        pthread_mutex_unlock(&c->lock);
        c->tell();
        return;
    }
    *s = (struct search){.owner = c,
                         .lookup = l,
                         .deadline = now_ns() + c->patience_ns,
                         .questions = 1, /* until all are asked */
                         .nothing_ttl = UINT32_MAX};
    list_append(&c->searches, &s->node);
    if (l->services)
        ask(s, l->name, &(struct question){.type = DNS_SRV});
    else if (found_in_hosts(s, l->name, 0))
        ;
    else if (lookup_localhost(l))
        holds_for(s, HOSTS_TTL);
    else
        ask_addresses(s, l->name, (struct question){0});
    search_done(s);
}

/* Who has waited long enough is answered with what there is. */
static uint64_t searches_expire(struct cares *c)
{
    uint64_t now = now_ns(), next = TIME_NEVER;

    for (struct link_node *n = c->searches.next; n != &c->searches; n = n->next) {
        struct search *s = container_of(n, struct search, node);
        if (!s->lookup)
            continue;
        if (s->deadline > now) {
            next = s->deadline < next ? s->deadline : next;
            continue;
        }
        search_failed(s, FAIL_TIMEOUT, fail_text(FAIL_TIMEOUT));
        search_answer(s);
    }
    return next;
}

/* --- c-ares --------------------------------------------------------------------------------------
 */

static void socket_changed(void *data, ares_socket_t fd, int readable, int writable)
{
    struct cares *c = data;
    unsigned i = 0;

    while (i < c->socket_count && c->sockets[i].fd != fd)
        i++;
    if (i == c->socket_count && (i == SOCKETS_MAX || !(readable || writable)))
        return;
    c->sockets[i] = (struct pollfd){
        .fd = fd, .events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0))};
    if (i == c->socket_count)
        c->socket_count++;
    else if (!c->sockets[i].events)
        c->sockets[i] = c->sockets[--c->socket_count];
}

static void channel_close(struct cares *c)
{
    if (c->open)
        ares_destroy(c->channel); /* answers all that are on their way */
    c->open = false;
}

/* c-ares takes a file that it cannot open for one that is not there: it asks 127.0.0.1 then, and
 * numbers its questions without /dev/urandom.  So it is opened first, which tells whether there is
 * a descriptor as well; and once more afterwards, for another thread may have taken that.  Who
 * has servers of its own needs no more. */
static bool conf_opens(struct stat *conf, bool needed)
{
    int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *conf = (struct stat){0};
    if (fd < 0)
        return errno == ENOENT || (!needed && errno != EMFILE && errno != ENFILE);
    if (fstat(fd, conf) < 0)
        *conf = (struct stat){0};
    close(fd);
    return true;
}

/* When that fails the channel is not open, and the next lookup tries again. */
static void channel_open(struct cares *c, const char *servers)
{
    struct stat conf, later;
    struct ares_options options = {.flags = ARES_FLAG_EDNS, .ednspsz = EDNS_SIZE, .tries = TRIES};
    int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS |
               ARES_OPT_SOCK_STATE_CB;
    uint64_t each = c->patience_ns / (TRIES + 1) / NS_PER_MS;

    channel_close(c);
    options.timeout = each < 1 ? 1 : each < 60000 ? (int)each : 60000;
    options.sock_state_cb = socket_changed;
    options.sock_state_cb_data = c;
#ifdef ARES_OPT_QUERY_CACHE
    options.qcache_max_ttl = 0; /* how long an answer holds is decided elsewhere */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    c->absolute = servers != NULL;
    if (!conf_opens(&conf, !servers) ||
        ares_init_options(&c->channel, &options, mask) != ARES_SUCCESS)
        return;
    c->open = true;
    c->conf = conf;
    if (!conf_opens(&later, !servers) ||
        (servers && ares_set_servers_ports_csv(c->channel, servers) != ARES_SUCCESS))
        channel_close(c);
}

/* The system's servers may be others than when it was read. */
static bool conf_is_new(const struct cares *c)
{
    struct stat now = {0};

    if (c->absolute || stat(RESOLV_CONF, &now) < 0)
        return false;
    return now.st_ino != c->conf.st_ino || now.st_mtime != c->conf.st_mtime ||
           now.st_size != c->conf.st_size;
}

/* --- the thread
 * ------------------------------------------------------------------------------------ */

static int patience(struct cares *c, uint64_t next)
{
    struct timeval room, *most = c->open ? ares_timeout(c->channel, NULL, &room) : NULL;
    uint64_t now = now_ns(), wait = next == TIME_NEVER ? TIME_NEVER : next > now ? next - now : 0;

    if (most) {
        uint64_t other = (uint64_t)most->tv_sec * NS_PER_S + (uint64_t)most->tv_usec * NS_PER_US;
        wait = other < wait ? other : wait;
    }
    if (wait == TIME_NEVER)
        return -1;
    uint64_t ms = (wait + NS_PER_MS - 1) / NS_PER_MS;
    return ms < 60000 ? (int)ms : 60000;
}

static void sockets_wait(struct cares *c, uint64_t next)
{
    struct pollfd fds[SOCKETS_MAX + 1];
    unsigned count = c->socket_count;
    char drop[64];

    memcpy(fds, c->sockets, count * sizeof *fds);
    fds[count] = (struct pollfd){.fd = c->wake[0], .events = POLLIN};
    int n = poll(fds, count + 1, patience(c, next));
    if (n > 0 && fds[count].revents)
        while (read(c->wake[0], drop, sizeof drop) == sizeof drop)
            ;
    if (!c->open)
        return;
    ares_process_fd(c->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    for (unsigned i = 0; n > 0 && i < count; i++) {
        short what = fds[i].revents;
        ares_process_fd(c->channel,
                        what & (POLLIN | POLLERR | POLLHUP) ? fds[i].fd : ARES_SOCKET_BAD,
                        what & (POLLOUT | POLLERR | POLLHUP) ? fds[i].fd : ARES_SOCKET_BAD);
    }
}

/* Takes over what main has left.  False: the end. */
static bool news_take(struct cares *c, struct link_node *asked)
{
    list_init(asked);
    pthread_mutex_lock(&c->lock);
    bool stop = c->stop, again = !list_empty(&c->asked) && (!c->open || conf_is_new(c));
    bool changed = c->changed || again;
    c->patience_ns = c->timeout_ns;
    char *servers = changed && c->servers ? mem_alloc(strlen(c->servers) + 1) : NULL;
    bool fine = !changed || !c->servers || servers;
    c->changed = !fine; /* for want of memory: when there is something to ask next */
    if (servers)
        strcpy(servers, c->servers);
    list_splice(asked, &c->asked);
    pthread_mutex_unlock(&c->lock);
    if (changed && fine)
        channel_open(c, servers);
    mem_free(servers);
    return !stop;
}

static void *cares_main(void *data)
{
    struct cares *c = data;
    struct link_node asked, *node;

    while (news_take(c, &asked)) {
        while ((node = list_pop(&asked)))
            search_begin(c, container_of(node, struct lookup, node));
        sockets_wait(c, searches_expire(c));
    }
    channel_close(c);
    return NULL;
}

/* --- for main ------------------------------------------------------------------------------------
 */

static struct cares *of(struct resolver *r)
{
    return container_of(r, struct cares, base);
}

static void wake(struct cares *c)
{
    ssize_t n = write(c->wake[1], "", 1);

    (void)n; /* a full pipe wakes as well */
}

static bool cares_set(struct resolver *r, const struct resolver_options *options)
{
    struct cares *c = of(r);
    char *servers = options->servers ? mem_alloc(strlen(options->servers) + 1) : NULL;

    if (options->servers && !servers)
        return false;
    if (servers)
        strcpy(servers, options->servers);
    pthread_mutex_lock(&c->lock);
    bool same = servers && c->servers ? strcmp(servers, c->servers) == 0 : servers == c->servers;
    c->changed = c->changed || !same || c->timeout_ns != options->timeout_ns;
    c->timeout_ns = options->timeout_ns;
    mem_free(c->servers);
    c->servers = servers;
    pthread_mutex_unlock(&c->lock);
    return true;
}

static bool cares_start(struct cares *c)
{
    if (c->started)
        return true;
    if (pipe(c->wake) < 0)
        return false;
    for (int i = 0; i < 2; i++) {
        fcntl(c->wake[i], F_SETFL, O_NONBLOCK);
        fcntl(c->wake[i], F_SETFD, FD_CLOEXEC);
    }
    c->started = pthread_create(&c->thread, NULL, cares_main, c) == 0;
    if (!c->started) {
        close(c->wake[0]);
        close(c->wake[1]);
        return false;
    }
#ifdef HAVE_PTHREAD_SETNAME_NP
    pthread_setname_np(c->thread, "resolver");
#endif
    return true;
}

static void cares_ask(struct resolver *r, struct lookup *l)
{
    struct cares *c = of(r);
    bool started = cares_start(c);

    pthread_mutex_lock(&c->lock);
    if (started) {
        list_append(&c->asked, &l->node);
    } else {
        l->count = l->left_out = 0;
        l->fail = FAIL_MEMORY;
        l->why = "the resolver cannot start: no thread or descriptor";
        list_append(&c->answered, &l->node);
    }
    pthread_mutex_unlock(&c->lock);
    if (started)
        wake(c);
    else
        c->tell();
}

static struct lookup *cares_take(struct resolver *r)
{
    struct cares *c = of(r);

    pthread_mutex_lock(&c->lock);
    struct link_node *n = list_pop(&c->answered);
    pthread_mutex_unlock(&c->lock);
    return n ? container_of(n, struct lookup, node) : NULL;
}

static bool cares_free(struct resolver *r)
{
    struct cares *c = of(r);

    if (c->started) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_mutex_unlock(&c->lock);
        wake(c);
        pthread_join(c->thread, NULL);
        close(c->wake[0]);
        close(c->wake[1]);
    }
    pthread_mutex_destroy(&c->lock);
    mem_free(c->servers);
    mem_free(c);
    ares_library_cleanup();
    return true;
}

struct resolver *resolver_new(void (*tell)(void))
{
    struct cares *c = mem_zalloc(sizeof *c);

    if (!c)
        return NULL;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        mem_free(c);
        return NULL;
    }
    c->base = (struct resolver){cares_set, cares_ask, cares_take, cares_free};
    c->tell = tell;
    c->changed = true;
    c->timeout_ns = 2 * NS_PER_S;
    pthread_mutex_init(&c->lock, NULL);
    list_init(&c->asked);
    list_init(&c->answered);
    list_init(&c->searches);
    return &c->base;
}
