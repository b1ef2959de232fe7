/* Responses to HTTP/1 bytes on a wire. */
#ifndef HEADGATE_GATE_CONN_H1_WRITE_H
#define HEADGATE_GATE_CONN_H1_WRITE_H

#include "gate/exchange.h"
#include "net/wire.h"

/* How far the response of an exchange has got on its way to the wire. */
struct response_writer {
    bool head_written;
    bool chunked;
    bool no_content;  /* HEAD, 204, 304: the head is all */
    bool until_close; /* HTTP/1.0 without a length: the end of the connection ends it */
    bool done;        /* all bytes are the wire's */
    uint64_t left;    /* of a known length: bytes still owed */
};

/* Moves what it can from the exchange to the wire.  Sets x->close_after when
 * the connection cannot go on after it. */
void response_write(struct response_writer *rw, struct exchange *x, struct wire *w);

/* 1xx: head only. */
void response_write_interim(struct wire *w, int status, const struct fields *fields);

#endif
