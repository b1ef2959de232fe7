/* Requests and responses as data, whatever protocol version carried them. */
#ifndef HEADGATE_HTTP_MESSAGE_H
#define HEADGATE_HTTP_MESSAGE_H

#include "http/field.h"
#include "http/method.h"
#include "http/target.h"

enum http_version { HTTP_1_0 = 10, HTTP_1_1 = 11, HTTP_2 = 20 };

/* How long the content is (RFC 9112, 6.3). */
enum framing {
    FRAMING_NONE,    /* there is none */
    FRAMING_LENGTH,  /* content_length bytes */
    FRAMING_CHUNKED, /* until the last chunk */
    FRAMING_CLOSE,   /* until the connection ends: responses only */
    FRAMING_TUNNEL,  /* not content at all: 101 and what follows */
};

struct request {
    enum method method;
    struct span method_name;
    enum http_version version;
    struct span target_text; /* as sent */
    struct target target;
    struct span protocol; /* of an extended CONNECT (RFC 8441); empty: it is none */
    struct span host;     /* the Host field, or the authority of an absolute target; as sent */
    struct fields fields;
    enum framing framing;
    uint64_t content_length; /* of FRAMING_LENGTH */
    bool expects_continue;
    bool keep_alive;       /* the connection may be used again, as far as the sender is concerned */
    bool upgrade;          /* Connection names Upgrade, and there is one */
    uint8_t host_name_len; /* so many bytes of host are known to be a good name; 0: unknown */
};

struct response {
    int status;
    enum http_version version;
    struct span reason;
    struct fields fields;
    enum framing framing;
    uint64_t content_length;
    bool keep_alive;
    bool upgrade;
};

/* Moves every span that points into [from, from + len) to the same place in
 * `to`; for keeping a head whose buffer is about to go. */
void request_rebase(struct request *r, const char *from, size_t len, const char *to);
void response_rebase(struct response *r, const char *from, size_t len, const char *to);

#endif
