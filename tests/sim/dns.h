/* Names in a world: what DNS says, when, and whether it says anything. */
#ifndef HEADGATE_TESTS_SIM_DNS_H
#define HEADGATE_TESTS_SIM_DNS_H

#include "io/sim.h"
#include "net/lookup.h"

enum { DNS_NAMES_MAX = 4, DNS_ADDRESSES_MAX = 16 };

/* What is said of a name.  A test changes it as it likes; what holds is what it is when
 * the answer leaves. */
struct dns_name {
    const char *name;
    int fail; /* FAIL_NOT_FOUND, FAIL_TIMEOUT ... */
    bool partial;
    uint32_t ttl;      /* seconds */
    uint64_t delay_ns; /* to an answer, at most: drawn each time */
    unsigned count;
    struct found found[DNS_ADDRESSES_MAX];
    unsigned asked; /* how often */
};

struct dns_answer_due {
    struct dns *dns;
    struct lookup *lookup; /* NULL: not in use */
};

struct dns {
    struct resolver base;
    struct sim *sim;
    void (*tell)(void *data);
    void *data;
    bool closed;
    struct link_node answered;
    struct dns_name names[DNS_NAMES_MAX];
    struct dns_answer_due due[DNS_NAMES_MAX * 2];
};

/* Who tells it what to call when there is an answer sets tell and data.  It has to outlive the
 * world: answers may still be on their way. */
void dns_open(struct dns *dns, struct sim *sim);

/* Says of it what was said, until then that there is no such name. */
struct dns_name *dns_name(struct dns *dns, const char *name);
void dns_add(struct dns_name *n, const char *address);

#endif
