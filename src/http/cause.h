/* Every way an exchange can end other than well: one list.
 *
 * The name is what the operator meets in the access log, in metrics, in
 * Proxy-Status (RFC 9209) and in the manual; the status is what the client
 * gets if no response had begun.  0 as a status: the connection just ends.
 * The last column says what to do.
 */
#ifndef HEADGATE_HTTP_CAUSE_H
#define HEADGATE_HTTP_CAUSE_H

#include "base/span.h"

/* id, status, RFC 9209 type or "", meaning, what to do */
#define CAUSE_LIST(ROW)                                                                            \
    ROW(bad_request_line, 400, "http_request_error",                                               \
        "the request line is malformed (RFC 9112, 3)",                                             \
        "the client is broken or hostile")                                                         \
    ROW(bad_target, 400, "http_request_error", "the request target is malformed (RFC 9112, 3.2)",  \
        "the client is broken or hostile")                                                         \
    ROW(bad_path, 400, "http_request_error",                                                       \
        "the path climbs above the root or hides a separator",                                     \
        "look at the path; encoded_slash = pass allows %2F")                                       \
    ROW(bad_header, 400, "http_request_error", "a header field is malformed (RFC 9112, 5)",        \
        "the client is broken or hostile")                                                         \
    ROW(bad_host, 400, "http_request_error",                                                       \
        "Host is missing, repeated or malformed (RFC 9112, 3.2)",                                  \
        "the client is broken or hostile")                                                         \
    ROW(bad_framing, 400, "http_request_error",                                                    \
        "Content-Length and Transfer-Encoding are wrong or together (RFC 9112, 6)",                \
        "the client is broken or smuggling requests")                                              \
    ROW(bad_chunk, 400, "http_request_error",                                                      \
        "a chunk of the content is malformed (RFC 9112, 7.1)",                                     \
        "the client is broken or hostile")                                                         \
    ROW(bad_event, 400, "", "the event is not what the challenge asks for",                        \
        "the answer's content says what is wrong")                                                 \
    ROW(unknown_coding, 501, "http_request_error",                                                 \
        "a transfer coding we do not know (RFC 9112, 6.1)",                                        \
        "only chunked is understood")                                                              \
    ROW(unknown_version, 505, "http_request_error",                                                \
        "neither HTTP/1.0 nor HTTP/1.1 (RFC 9112, 2.3)",                                           \
        "the client is broken or speaks something else")                                           \
    ROW(expectation_failed, 417, "", "an expectation other than 100-continue (RFC 9110, 10.1.1)",  \
        "the client asks for what nobody offers")                                                  \
    ROW(request_line_too_long, 414, "http_request_error", "longer than max_request_line",          \
        "raise max_request_line if such requests are legitimate")                                  \
    ROW(header_too_large, 431, "http_request_error", "longer than max_header",                     \
        "raise max_header if such requests are legitimate")                                        \
    ROW(too_many_fields, 431, "http_request_error", "more fields than max_fields",                 \
        "raise max_fields if such requests are legitimate")                                        \
    ROW(content_too_large, 413, "", "longer than max_body", "raise the route's max_body")          \
    ROW(header_timeout, 408, "", "the request head did not arrive in time",                        \
        "slow client or header_timeout too short")                                                 \
    ROW(body_too_slow, 408, "", "content arrived slower than body_min_rate",                       \
        "slow client or body_min_rate too high")                                                   \
    ROW(keepalive_timeout, 0, "", "an idle connection was closed", "normal")                       \
    ROW(write_timeout, 0, "", "the client took no bytes for write_timeout", "slow client")         \
    ROW(client_gone, 499, "", "the client went away before the answer was complete", "normal")     \
    ROW(client_truncated, 400, "", "the client ended its content before its length",               \
        "the client gave up or was cut off")                                                       \
    ROW(tls_failed, 0, "", "the TLS handshake failed", "the error log at level debug says why")    \
    ROW(plain_on_tls, 400, "", "plain HTTP was spoken where TLS is",                               \
        "the client means another port, or https")                                                 \
    ROW(handshake_timeout, 0, "", "no PROXY header and TLS handshake within handshake_timeout",    \
        "slow client")                                                                             \
    ROW(proxy_untrusted, 0, "", "proxy_protocol is on, and the peer is not in trusted",            \
        "add the balancer to trusted; nobody else may connect there")                              \
    ROW(bad_proxy_header, 0, "", "no PROXY header, a malformed one, or another version",           \
        "have the peer send what proxy_protocol says")                                             \
    ROW(no_route, 404, "", "no route matches", "see the routes and headgate -t")                   \
    ROW(method_not_allowed, 405, "", "routes match, but none for this method",                     \
        "Allow names the methods")                                                                 \
    ROW(misdirected, 421, "", "this host is not served on this connection",                        \
        "the client reused a connection for another host, or client_ca has changed")               \
    ROW(not_found, 404, "", "there is no such file", "normal")                                     \
    ROW(forbidden, 403, "", "the file may not be served", "see links, hidden and permissions")     \
    ROW(range_not_satisfiable, 416, "", "the range lies outside the file", "normal")               \
    ROW(precondition_failed, 412, "", "If-Match or If-Unmodified-Since did not hold", "normal")    \
    ROW(file_error, 500, "", "a file could not be read, or was cut short while it was sent",       \
        "see the disk; a file is replaced by renaming another over it")                            \
    ROW(out_of_memory, 503, "proxy_internal_error", "no memory for the exchange",                  \
        "raise buffer_memory or lower the limits")                                                 \
    ROW(loop_detected, 508, "proxy_loop_detected", "the request passed here too often",            \
        "an upstream points back at this gateway")                                                 \
    ROW(upstream_unresolved, 503, "dns_error", "no address is known for the origin's name",        \
        "check the name and the resolver")                                                         \
    ROW(upstream_connect_refused, 502, "connection_refused", "the origin refused the connection",  \
        "is the origin running?")                                                                  \
    ROW(upstream_connect_timeout, 504, "connection_timeout",                                       \
        "no connection to the origin within connect_timeout", "network, firewall or overload")     \
    ROW(upstream_unreachable, 502, "destination_ip_unroutable", "no way to the origin",            \
        "network or routing")                                                                      \
    ROW(upstream_tls_failed, 502, "tls_protocol_error",                                            \
        "no TLS with the origin, or one side does not trust the other's certificate",              \
        "the error log at level info says why; see tls_ca, tls_name and tls_certificate")          \
    ROW(upstream_no_descriptors, 503, "proxy_internal_error", "no descriptor for a connection",    \
        "raise the open-files limit")                                                              \
    ROW(upstream_reset_before_head, 502, "connection_terminated",                                  \
        "the origin ended the connection before it answered", "see the origin's log")              \
    ROW(upstream_closed_unproven, 502, "connection_terminated",                                    \
        "the origin ended a connection that was used before, and may have the request",            \
        "see the origin's log, or lower keepalive_time if it was idle")                            \
    ROW(upstream_head_timeout, 504, "http_response_timeout",                                       \
        "no response head within first_byte_timeout", "slow origin")                               \
    ROW(upstream_bad_head, 502, "http_protocol_error", "the origin's response head is malformed",  \
        "see the origin")                                                                          \
    ROW(upstream_head_too_large, 502, "http_response_header_section_size",                         \
        "longer than max_response_header or more than 100 fields", "raise max_response_header")    \
    ROW(upstream_bad_chunk, 502, "http_protocol_error",                                            \
        "the origin's chunked content is malformed", "see the origin")                             \
    ROW(upstream_truncated_body, 502, "http_response_incomplete",                                  \
        "the origin ended its content before its length", "see the origin's log")                  \
    ROW(upstream_idle_timeout, 504, "http_response_timeout",                                       \
        "the origin was silent for idle_timeout in the middle of content", "slow origin")          \
    ROW(upstream_upgrade_refused, 502, "http_upgrade_failed",                                      \
        "the origin switched to what nobody asked for, or made no tunnel",                         \
        "see the origin, and upgrade")                                                             \
    ROW(upgrade_not_allowed, 501, "",                                                              \
        "a CONNECT (RFC 8441) for what the route does not switch to", "see upgrade in the route")  \
    ROW(upstream_unprocessed, 503, "destination_unavailable",                                      \
        "the origin refused the stream, or went away before it looked at the request",             \
        "it is at its limit of streams or ending; more tries may help")                            \
    ROW(upstream_h2_error, 502, "http_protocol_error", "the origin broke the rules of HTTP/2",     \
        "see the origin")                                                                          \
    ROW(upstream_none_healthy, 503, "destination_unavailable",                                     \
        "no server of the group may be used", "see the servers' states")                           \
    ROW(upstream_timeout, 504, "http_response_timeout",                                            \
        "the whole exchange took longer than timeout", "slow origin or timeout too short")         \
    ROW(queue_full, 503, "connection_limit_reached", "the group's queue is full",                  \
        "add servers, or raise max_in_flight or max_connections")                                  \
    ROW(queue_timeout, 504, "connection_limit_reached", "waited too long in the group's queue",    \
        "add servers, or raise max_in_flight or max_connections")                                  \
    ROW(h2_protocol_error, 0, "", "the peer broke the rules of HTTP/2; its connection was ended",  \
        "the client is broken or hostile")                                                         \
    ROW(h2_compression_error, 0, "", "the peer's HPACK cannot be decoded",                         \
        "the client is broken or hostile")                                                         \
    ROW(h2_window_exceeded, 0, "",                                                                 \
        "the peer sent more than its HTTP/2 window, or overflowed ours",                           \
        "the client is broken or hostile")                                                         \
    ROW(h2_malformed, 0, "", "an ambiguous HTTP/2 request, or a frame its stream is not open for", \
        "the client is broken or smuggling requests; its stream was reset")                        \
    ROW(h2_refused, 0, "", "more streams than h2_max_streams, or on a connection that is ending",  \
        "the client may try again; raise h2_max_streams if it should not have to")                 \
    ROW(h2_reset_flood, 0, "", "more streams reset by or because of the client than h2_resets",    \
        "hostile; raise h2_resets if such clients are legitimate")                                 \
    ROW(h2_control_flood, 0, "", "more frames that carry nothing than h2_control",                 \
        "hostile; raise h2_control if such clients are legitimate")                                \
    ROW(h2_header_flood, 0, "",                                                                    \
        "a field section of many times max_header, or in very many pieces", "hostile")             \
    ROW(draining, 0, "", "the gateway is shutting down and drain_timeout has passed", "normal")    \
    ROW(reloaded, 503, "", "a reload came and reload_timeout has passed", "normal")

#define CAUSE_ENUM(id, status, proxy, meaning, advice) CAUSE_##id,
enum cause { CAUSE_NONE, CAUSE_LIST(CAUSE_ENUM) CAUSE_COUNT };
#undef CAUSE_ENUM

struct cause_row {
    struct span name;
    int status;
    struct span proxy_error; /* RFC 9209, 2.3; may be empty */
    const char *meaning, *advice;
};
const struct cause_row *cause_row(enum cause c);

#endif
