/* Reads answers of DNS: bytes to addresses and services (RFC 1035, 2782, 3596).
 *
 * An answer's records count when they belong to the name that was asked for, or
 * to one that it is an alias of; how long it holds is the least of all records
 * that were needed to say so.  That there is nothing holds as long as the
 * zone says (RFC 2308).
 */
#ifndef HEADGATE_NET_DNS_H
#define HEADGATE_NET_DNS_H

#include "base/address.h"

enum { DNS_A = 1, DNS_CNAME = 5, DNS_SOA = 6, DNS_AAAA = 28, DNS_SRV = 33 };
enum { DNS_NAME_MAX = 255, DNS_RECORDS_MAX = 32 };

struct dns_record {
    struct address ip; /* A, AAAA; without port */
    uint16_t priority, weight, port;
    char target[DNS_NAME_MAX + 1]; /* SRV; "": there is decidedly no such service */
};

struct dns_answer {
    uint32_t ttl;
    unsigned count;    /* 0: there is nothing */
    unsigned left_out; /* there was no room for: none of a better priority than those in the list */
    struct dns_record list[DNS_RECORDS_MAX];
};

/* 0; FAIL_NOT_FOUND: the name has none of this type; FAIL_BAD: not well formed, or
 * no answer at all. */
MUST_USE int dns_read(struct dns_answer *a, const uint8_t *message, size_t len, uint16_t type);

#endif
