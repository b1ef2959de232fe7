/* Configurations from text: what they come to, and what is refused. */
#include "config.h"

#include "base/clock.h"
#include "net/lookup.h"
#include "tests/unit/gate/configs.h"

#include <stdio.h>

START_TEST(a_small_file_has_all_the_defaults)
{
    struct config *c = load_fine(LISTENER "[route r]\nhandler = plain\n");

    ck_assert_uint_eq(c->server.workers, VALUE_AUTO);
    ck_assert_span_eq(c->server.engine, "auto");
    ck_assert_uint_eq(c->server.drain_timeout, 30 * UINT64_C(1000000000));
    ck_assert_uint_eq(c->server.reload_timeout, VALUE_OFF);
    ck_assert(c->server.tests_required);
    ck_assert(c->server.access_log.off);
    ck_assert_span_eq(c->server.error_log.path, "stderr");
    ck_assert_int_eq(c->server.error_log.format, LOG_TEXT);
    ck_assert_int_eq(c->server.log_level, LOG_NOTICE);
    ck_assert_span_eq(c->server.server_header, "headgate");
    ck_assert_uint_eq(c->listener_count, 1);
    const struct listener_conf *l = &c->listeners[0];
    ck_assert_span_eq(l->name, "a");
    ck_assert(l->listen.list[0].any);
    ck_assert_uint_eq(l->listen.list[0].address.port, 80);
    ck_assert_uint_eq(l->limits.request_line_max, 8192);
    ck_assert_uint_eq(l->limits.head_max, 32768);
    ck_assert_uint_eq(l->limits.fields_max, 100);
    ck_assert_uint_eq(l->keepalive_requests, VALUE_OFF);
    ck_assert_uint_eq(l->max_connections, VALUE_OFF);
    ck_assert_uint_eq(l->socket_mode, 0660);
    ck_assert_int_eq(l->client_ip_from, CLIENT_IP_XFF);
    const struct route_conf *r = &c->routes[0];
    ck_assert_uint_eq(r->max_body, 1 << 20);
    ck_assert_uint_eq(r->body_min_rate.amount, 128);
    ck_assert_uint_eq(r->body_min_rate.per_ns, 1000000000);
    ck_assert_uint_eq(r->listener_bits, UINT64_MAX);
    ck_assert_span_eq(r->paths.list[0], "/*");
    ck_assert(r->log);
    ck_assert_ptr_eq(r->handler, &plain);
    ck_assert_uint_eq(((const struct plain_conf *)r->conf)->status, 200);
    ck_assert_uint_eq(c->module_count, 2);
    config_free(c);
}
END_TEST

#define TEN "1234567890"

struct mistake {
    const char *text, *said;
};

#define ROUTE "[route r]\nhandler = plain\n"

static const struct mistake mistakes[] = {
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = hash cookie\n",
     "a.ini:5:16: error: balance: one name follows cookie\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = hash path x\n",
     "a.ini:5:21: error: balance: nothing follows path\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = hash client-ip\n",
     "a.ini:5:16: error: balance: behind hash stands client_ip, path, header NAME or cookie NAME; "
     "did you mean \"client_ip\"?\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nsticky = s=1 max_age=0 insecur\n",
     "a.ini:5:10: error: sticky: \"s=1\": is no name for a cookie\n"
     "a.ini:5:14: error: sticky: \"max_age=0\": a duration needs a unit: us, ms, s, m, h or d\n"
     "a.ini:5:24: error: sticky: there is no option \"insecur\"; did you mean \"insecure\"?\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nsticky = s max_age=1500ms\n",
     "a.ini:5:12: error: sticky: \"max_age=1500ms\": whole seconds: a cookie counts no others\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nsticky = __Host-s insecure\n",
     "a.ini:5:10: error: sticky: \"__Host-s\": browsers refuse it with insecure\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = random 2\n",
     "a.ini:5:18: error: balance: nothing follows random\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = hash\n",
     "a.ini:5:11: error: balance: behind hash stands client_ip, path, header NAME or cookie "
     "NAME\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = hash header a b\n",
     "a.ini:5:25: error: balance: one name follows header\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = hash header a@b\n",
     "a.ini:5:23: error: balance: \"a@b\": not a name\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\ntls_verify = maybe\n",
     "a.ini:5:14: error: tls_verify: \"maybe\": write yes or no\n"},
    {LISTENER "[test t]\nrequest = GET http://a/ x\nexpect_status = 404\n",
     "a.ini:4:25: error: request: \"x\": write METHOD URL\n"},
    {LISTENER "[test t]\nrequest = G@T http://a/\nexpect_status = 404\n",
     "a.ini:4:11: error: request: \"G@T\": not a method\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nbalance = least_con\n",
     "a.ini:5:11: error: balance: \"least_con\" is none of round_robin, least_conn, p2c, random, "
     "hash; did you mean "
     "\"least_conn\"?\n"},
    {ROUTE, "a.ini:1:1: error: there is no [listener NAME]\n"},
    {"[server x]\n" LISTENER, "a.ini:1:1: error: [server] has no name\n"},
    {LISTENER "[route]\nhandler = plain\n",
     "a.ini:3:1: error: [route] needs a name: [route NAME]\n"},
    {LISTENER "[rout x]\n",
     "a.ini:3:1: error: there is no section type rout; did you mean \"route\"?\n"},
#ifdef TLS_VERSION
    {LISTENER "[tls x]\n", "a.ini:3:1: error: [tls x] needs certificate\n"},
    {LISTENER "tls = x\n", "a.ini:3:7: error: tls: there is no [tls x]\n"},
    {LISTENER "[tls x]\ncertificate = x.pem\n",
     "a.ini:4:15: error: certificate: x.pem: not found\n"},
    {LISTENER "[tls x]\ncertificate = x.pem\nclient_verify = required\n",
     "a.ini:5:17: error: client_verify: there is no client_ca\n"},
    {LISTENER "[tls x]\ncertificate = x.pem\nhsts = 1\n",
     "a.ini:5:8: error: hsts: \"1\": a duration needs a unit: us, ms, s, m, h or d\n"},
    {LISTENER "[tls x]\ncertificate = x.pem\nhsts = 1d always\n",
     "a.ini:5:11: error: hsts: \"always\": after the duration stand include_subdomains and "
     "preload\n"},
    {LISTENER "[tls x]\ncertificate = x.pem\nhsts = 1d preload preload\n",
     "a.ini:5:19: error: hsts: \"preload\": this option is there twice; the first is \"preload\" "
     "at "
     "a.ini:5:11\n"},
#else
    {LISTENER "[tls x]\n",
     "a.ini:3:1: error: [tls] is not supported by this build: it was configured without TLS\n"},
#endif
    {"[server]\ncontrol = /" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "1234567\n" LISTENER,
     "a.ini:2:11: error: control: a socket's path has at most 107 bytes\n"},
    {"[server]\nresolver_ttl = min=2s max=1s\n" LISTENER,
     "a.ini:2:16: error: resolver_ttl: min is more than max\n"},
    {"[server]\nresolver_ttl = min=1\n" LISTENER,
     "a.ini:2:16: error: resolver_ttl: \"min=1\": a duration needs a unit: us, ms, s, m, h or d\n"},
    {"[server]\nlisten = :80\n" LISTENER,
     "a.ini:2:1: error: listen is a key of [listener], not of [server]\n"},
    {LISTENER "max_body = 1m\n",
     "a.ini:3:1: error: max_body is a key of [route], not of [listener]\n"},
    {LISTENER "lisen = :81\n",
     "a.ini:3:1: error: [listener] has no key lisen; did you mean \"listen\"?\n"},
    {"[server]\nheader_timout = 1s\n" LISTENER,
     "a.ini:2:1: error: [server] has no key header_timout; did you mean \"header_timeout\"?\n"},
    {"[server]\nheader_timeout = 1\n" LISTENER "[listener b]\nlisten = :81\n",
     "a.ini:2:18: error: header_timeout: \"1\": a duration needs a unit: us, ms, s, m, h or d\n"},
    {"[server]\naccess_log = x format=text\n" LISTENER,
     "a.ini:2:16: error: access_log: \"format=text\": after the file stands format=json, "
     "format=common or format=combined\n"},
    {"[server]\ngroup = www\n" LISTENER, "a.ini:2:9: error: group: there is no user\n"},
    {"[listener a]\n", "a.ini:1:1: error: [listener a] needs listen\n"},
    {LISTENER "[listener b]\nlisten = 0.0.0.0:80\n",
     "a.ini:4:10: error: listen: 0.0.0.0:80: [listener a] has :80 already\n"},
    /* Nobody binds beside a wildcard. */
    {LISTENER "[listener b]\nlisten = 10.0.0.1:80, [::1]:81\n",
     "a.ini:4:10: error: listen: 10.0.0.1:80: [listener a] has :80 already\n"},
    {"[listener a]\nlisten = [::1]:80, :80\n",
     "a.ini:2:10: error: listen: :80: [listener a] has [::1]:80 already\n"},
    {"[listener a]\nlisten = [::]:80, 10.0.0.1:80\n",
     "a.ini:2:10: error: listen: 10.0.0.1:80: [listener a] has [::]:80 already\n"},
    {"[listener a]\nlisten = 0.0.0.0:80, [::1]:80, 10.0.0.1:80\n",
     "a.ini:2:10: error: listen: 10.0.0.1:80: [listener a] has 0.0.0.0:80 already\n"},
    {"[listener a]\nlisten = 10.0.0.1:80, unix:@x, 10.0.0.1:80\n",
     "a.ini:2:10: error: listen: 10.0.0.1:80: [listener a] has 10.0.0.1:80 already\n"},
    {"[listener a]\nlisten = nowhere:80\n", "a.ini:2:10: error: listen: nowhere has no address\n"},
    {LISTENER "client_ip_from = forwarded\n",
     "a.ini:3:18: error: client_ip_from: nobody's word counts without trusted: add trusted, or "
     "remove this\n"},
    {LISTENER "max_request_line = 64k\n",
     "a.ini:3:20: error: max_request_line: more than max_header\n"},
    {LISTENER "[upstream u]\n", "a.ini:3:1: error: [upstream u] needs server\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nserver = 10.0.0.1:80\nfamily = ipv4\n",
     "a.ini:4:10: error: server: \"[::1]:80\": an IPv6 address, and family = ipv4\n"},
    {LISTENER "[upstream u]\nserver = [::1]:80\nserver = 10.0.0.1:80\nfamily = ipv6\n",
     "a.ini:5:10: error: server: \"10.0.0.1:80\": an IPv4 address, and family = ipv6\n"},
    {LISTENER "write_timeout = 0s\n", "a.ini:3:17: error: write_timeout: \"0s\": never 0\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1\n",
     "a.ini:4:10: error: server: \"10.0.0.1\": the port is missing: HOST:PORT\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:0\n",
     "a.ini:4:10: error: server: \"10.0.0.1:0\": after the host stands : and a port from 1 to "
     "65535\n"},
    {LISTENER "[upstream u]\nserver = http://a/b\n",
     "a.ini:4:10: error: server: \"http://a/b\": a server has no path; a route has rewrite\n"},
    {LISTENER "[upstream u]\nserver = ::1:80\n",
     "a.ini:4:10: error: server: \"::1:80\": after the host stands : and a port from 1 to 65535\n"},
    {LISTENER "[upstream u]\nserver = [::x]:80\n",
     "a.ini:4:10: error: server: \"[::x]:80\": not a server: [http[s]://|h2c://]HOST:PORT, "
     "[v6]:PORT or "
     "unix:PATH\n"},
    {LISTENER "[upstream u]\nserver = http://10.0.0.1\nserver = https://10.0.0.2\n",
     "a.ini:5:10: error: server: \"https://10.0.0.2\": http, https and h2c together: one scheme "
     "for "
     "a group\n"},
#ifdef HAVE_CARES
    {LISTENER "[upstream u]\nserver = srv:_http.a\nserver = http://srv:_http._tcp.a\n",
     "a.ini:4:10: error: server: \"srv:_http.a\": a service is srv:_SERVICE._tcp.NAME, "
     "without scheme and port\n"
     "a.ini:5:10: error: server: \"http://srv:_http._tcp.a\": a service is "
     "srv:_SERVICE._tcp.NAME, without scheme and port\n"},
    {"[server]\nresolver = system, 10.0.0.1\n" LISTENER,
     "a.ini:2:12: error: resolver: \"system\": stands alone; with others it is not asked\n"},
    {"[server]\nresolver = 10.0.0.1 x, dns.example\n" LISTENER,
     "a.ini:2:21: error: resolver: \"x\": nothing follows an address\n"
     "a.ini:2:24: error: resolver: \"dns.example\": neither system nor IP[:PORT]\n"},
#else
    {LISTENER "[upstream u]\nserver = srv:_http._tcp.a\n",
     "a.ini:4:10: error: server: srv: is not supported by this build\n"},
    {"[server]\nresolver = 10.0.0.1\n" LISTENER,
     "a.ini:2:12: error: resolver: \"10.0.0.1\": not supported by this build; only system is\n"},
#endif
    {LISTENER
     "[upstream u]\nserver = 10.0.0.1:80\nserver = 10.0.0.2:80\nserver = 10.0.0.1:80 backup\n",
     "a.ini:6:10: error: server: \"10.0.0.1:80\" is there twice; the first is at a.ini:4\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80 weight=1 backup weight=2 backup\n",
     "a.ini:4:38: error: server: \"weight=2\": this option is there twice; the first is "
     "\"weight=1\" at a.ini:4:22\n"
     "a.ini:4:47: error: server: \"backup\": this option is there twice; the first is \"backup\" "
     "at a.ini:4:31\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80\nqueue = 256 timeout=1s timeout=2s\n"
              "retry_budget = 20% min=1/s min=2/s\ncheck = GET / rise=1 rise=2\n"
              "sticky = insecure max_age=1s insecure max_age=2s\n",
     "a.ini:5:24: error: queue: \"timeout=2s\": this option is there twice; the first is "
     "\"timeout=1s\" at a.ini:5:13\n"
     "a.ini:6:28: error: retry_budget: \"min=2/s\": this option is there twice; the first is "
     "\"min=1/s\" at a.ini:6:20\n"
     "a.ini:7:22: error: check: \"rise=2\": this option is there twice; the first is "
     "\"rise=1\" at a.ini:7:15\n"
     "a.ini:8:39: error: sticky: \"max_age=2s\": this option is there twice; the first is "
     "\"max_age=1s\" at a.ini:8:19\n"},
    {"[server]\nresolver_ttl = min=1s min=2s\naccess_log = a format=json format=json\n"
     "error_log = a format=text format=json\n" LISTENER,
     "a.ini:2:23: error: resolver_ttl: \"min=2s\": this option is there twice; the first is "
     "\"min=1s\" at a.ini:2:16\n"
     "a.ini:3:28: error: access_log: \"format=json\": this option is there twice; the first is "
     "\"format=json\" at a.ini:3:16\n"
     "a.ini:4:27: error: error_log: \"format=json\": this option is there twice; the first is "
     "\"format=text\" at a.ini:4:15\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80\ntls_ca = a.pem\ntls_name = ${host}\n"
              "tls_certificate = b.pem\ntls_key = b.key\ntls_verify = no\n"
              "[upstream v]\nserver = unix:/x\ntls_verify = yes\n",
     "a.ini:5:10: error: tls_ca: does nothing, for no server of this group is https://\n"
     "a.ini:6:12: error: tls_name: does nothing, for no server of this group is https://\n"
     "a.ini:7:19: error: tls_certificate: does nothing, for no server of this group is "
     "https://\n"
     "a.ini:8:11: error: tls_key: does nothing, for no server of this group is https://\n"
     "a.ini:9:14: error: tls_verify: does nothing, for no server of this group is https://\n"},
    {LISTENER "[upstream u]\nserver = htps://10.0.0.1\ntls_ca = a.pem\n",
     "a.ini:4:10: error: server: \"htps\" is none of http, https, h2c; did you mean "
     "\"https\"?\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80\nserver = \\\n  ftp://10.0.0.1:21\n",
     "a.ini:6:3: error: server: \"ftp\" is none of http, https, h2c; did you mean \"http\"?\n"},
    {LISTENER "[upstream u]\nserver = 256.1.1.1:80\nserver = 1.1:80\n",
     "a.ini:4:10: error: server: \"256.1.1.1:80\": neither an IPv4 address nor a name\n"
     "a.ini:5:10: error: server: \"1.1:80\": neither an IPv4 address nor a name\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80 wieght=1\n",
     "a.ini:4:22: error: server: there is no option \"wieght=1\"; did you mean \"weight=\"?\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80 weight=x\n",
     "a.ini:4:22: error: server: \"weight=x\": a count is digits only: no unit, no sign\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80 max_connections=0\n",
     "a.ini:4:22: error: server: \"max_connections=0\": at least 1; weight=0 or down give a server "
     "no work\n"},
    {LISTENER
     "[upstream u]\nserver = 10.0.0.1:80\nretry_on = conect, 200, 599-400, reset timeout\n",
     "a.ini:5:12: error: retry_on: \"conect\" is none of connect, unprocessed, reset, timeout, a "
     "status, off; did you mean \"connect\"?\n"
     "a.ini:5:20: error: retry_on: \"200\": statuses that say that something failed are from 400 "
     "to 599\n"
     "a.ini:5:25: error: retry_on: \"599-400\": a range goes from the smaller to the larger\n"
     "a.ini:5:34: error: retry_on: \"reset timeout\": commas stand between\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80\nqueue = 5 time=1s\n",
     "a.ini:5:11: error: queue: \"time=1s\": behind the count stands timeout=DURATION\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80\nqueue = 5 timeout=1\n"
              "retry_budget = 20 min=10\n[upstream v]\nserver = 10.0.0.1:80\n"
              "queue = 5000000000 1s\nretry_budget = 20% 10/s\n",
     "a.ini:5:11: error: queue: \"timeout=1\": a duration needs a unit: us, ms, s, m, h or d\n"
     "a.ini:6:16: error: retry_budget: \"20\": a share is written 20% or 0.5%\n"
     "a.ini:6:19: error: retry_budget: \"min=10\": a rate is written 128b/s or 500/10s\n"
     "a.ini:9:9: error: queue: \"5000000000\": too large\n"
     "a.ini:9:20: error: queue: \"1s\": behind the count stands timeout=DURATION\n"
     "a.ini:10:20: error: retry_budget: \"10/s\": behind the percentage stands min=RATE\n"},
    {LISTENER "[upstream u]\nserver = 10.0.0.1:80 max_in_flight=0\n",
     "a.ini:4:22: error: server: \"max_in_flight=0\": at least 1; weight=0 or down give a server "
     "no "
     "work\n"},
    {LISTENER "[upstream u]\nserver = somewhere:80\n[route r]\nhandler = plain\n[route s]\n"
              "handler = plan\npath = /s\n",
     "a.ini:8:11: error: handler: there is no handler plan; did you mean \"plain\"?\n"},
    {LISTENER "[route r]\n", "a.ini:3:1: error: [route r] needs handler\n"},
    /* A key that is there without a value, or badly separated from it, is not missed as well. */
    {LISTENER "[route r]\nhandler =\n",
     "a.ini:4:9: error: handler has no value; the empty text is \"\"\n"},
    {LISTENER "[route r]\nhandler = ${NONE:-}\n",
     "a.ini:4:11: error: handler has no value; the empty text is \"\"\n"},
    {LISTENER "[route r]\nhandler: plain\n",
     "a.ini:4:8: error: key and value are separated by =, never by :\n"},
    {LISTENER "[route r]\nhandler\n",
     "a.ini:4:1: error: neither [section] nor key = value nor a comment: there is no =\n"},
    {"[listener a]\nlisten =\n", "a.ini:2:8: error: listen has no value; the empty text is \"\"\n"},
    {LISTENER "[upstream u]\nserver =\n",
     "a.ini:4:8: error: server has no value; the empty text is \"\"\n"},
    {LISTENER "[test t]\nrequest = GET http://a/\nexpect_route =\n",
     "a.ini:5:14: error: expect_route has no value; the empty text is \"\"\n"},
    {LISTENER "[route r]\nhandler = plain\ncolour =\n",
     "a.ini:5:8: error: colour has no value; the empty text is \"\"\n"},
    {LISTENER ROUTE "listener = a, b\n", "a.ini:5:12: error: listener: there is no [listener b]\n"},
    {LISTENER ROUTE "method = GET, post\n",
     "a.ini:5:10: error: method: \"post\": methods are upper case: POST\n"},
    {LISTENER ROUTE "method = TRACE\n",
     "a.ini:5:10: error: method: TRACE is answered with 405 before any route\n"},
    {LISTENER ROUTE "match_header = a b=c\n",
     "a.ini:5:16: error: match_header: \"a b=c\": a condition is NAME, !NAME, NAME=V, NAME!=V or "
     "NAME^=PREFIX\n"},
    {LISTENER ROUTE "use = limit\n", "a.ini:5:1: error: use is not supported by this build\n"},
    {LISTENER ROUTE "status = 299\n", "a.ini:5:10: error: status: never that\n"},
    {LISTENER ROUTE "upstream = u\n",
     "a.ini:5:1: error: upstream is a setting of handler origin, which this route does not have\n"},
    /* What no path has would always be empty. */
    {LISTENER ROUTE "path = /a/{user}, /b/{rest*}\nresponse_header = set X ${path.user}\n"
                    "response_header = set Y a ${path.usr}\nrequest_header = set Z ${path.c}\n"
                    "note = ${path.rest}${path.nobody:-none}\n",
     "a.ini:7:25: error: response_header: no path of this route has a {usr}; did you mean "
     "\"user\"?\n"
     "a.ini:8:24: error: request_header: no path of this route has a {c}\n"
     "a.ini:9:8: error: note: no path of this route has a {nobody}\n"},
    {LISTENER ROUTE "note = ${path.id}\n",
     "a.ini:5:8: error: note: no path of this route has a {id}\n"},
    {LISTENER ROUTE "path = a/{id}\nnote = ${path.id}\n",
     "a.ini:5:8: error: path: \"a/{id}\": a path begins with /\n"},
    {LISTENER ROUTE "response_header = put X a\n",
     "a.ini:5:19: error: response_header: \"put\" is none of set, add, default, remove; did you "
     "mean \"set\"?\n"},
    {LISTENER ROUTE "response_header = set\n",
     "a.ini:5:19: error: response_header: \"set\": the field's name is missing\n"},
    {LISTENER ROUTE "response_header = set X\n",
     "a.ini:5:23: error: response_header: \"X\": the value is missing; the empty text is \"\"\n"},
    {LISTENER ROUTE "response_header = remove X y\n",
     "a.ini:5:28: error: response_header: \"y\": remove takes a name only\n"},
    {LISTENER ROUTE "response_header = set Content-Length 5\n",
     "a.ini:5:23: error: response_header: \"Content-Length\": this field belongs to the "
     "connection\n"},
    {LISTENER ROUTE "response_header = remove transfer-encoding\n",
     "a.ini:5:26: error: response_header: \"transfer-encoding\": this field belongs to the "
     "connection\n"},
    {LISTENER ROUTE "request_header = add Connection close\n",
     "a.ini:5:22: error: request_header: \"Connection\": this field belongs to the connection\n"},
    {LISTENER ROUTE "request_header = set Host x\n",
     "a.ini:5:22: error: request_header: \"Host\": Host is set by host_header\n"},
    {LISTENER ROUTE "response_header = set X-A \"a\\nb\"\n",
     "a.ini:5:27: error: response_header: \"a\nb\": a control character\n"},
    {LISTENER ROUTE "response_header = set X-A ${hots}\n",
     "a.ini:5:27: error: response_header: there is no variable ${hots}; did you mean "
     "\"${host}\"?\n"},
    {LISTENER ROUTE "error_page = 503 none.html\n",
     "a.ini:5:18: error: error_page: none.html: not found\n"},
    {LISTENER ROUTE "error_page = 200 a.ini\n",
     "a.ini:5:14: error: error_page: \"200\": statuses from 400 to 599, with commas between\n"},
    {LISTENER ROUTE "error_page = 502, 503 a.ini\n",
     "a.ini:5:14: error: error_page: write 503[,504...] and one file; no blank after a comma\n"},
    {LISTENER "[route r]\nhandler = origin\nupstream = apl\n[upstream api]\nserver = [::1]:80\n",
     "a.ini:5:12: error: there is no [upstream apl]; did you mean \"api\"?\n"},
    {LISTENER "[route r]\nhandler = origin\nupstream = u\nstrip_prefix = /v1\n"
              "path = /v1, /v1/*, /v10\n[upstream u]\nserver = [::1]:80\n",
     "a.ini:6:16: error: strip_prefix: path /v10 does not begin with /v1\n"},
    {LISTENER "[module counters]\nenabled = yes\n",
     "a.ini:3:1: error: there is no module counters; did you mean \"counter\"?\n"},
    {LISTENER "[module counter]\nenabeld = yes\n",
     "a.ini:4:1: error: [module] has no key enabeld; did you mean \"enabled\"?\n"},
    {LISTENER "[module counter]\nenabled = yes\n[route counter.event]\nhandler = plain\n",
     "a.ini:5:1: error: [route counter.event] has the name of a route of [module counter] "
     "(a.ini:3)\n"},
    {LISTENER "[test t]\nrequest = GET\n",
     "a.ini:3:1: error: [test t] expects nothing\n"
     "a.ini:4:11: error: request: \"GET\": write METHOD URL\n"},
    {LISTENER "[test t]\nrequest = GET ftp://a/\nexpect_status = 404\n",
     "a.ini:4:15: error: request: \"ftp://a/\": a URL begins with http:// or https://\n"},
    {LISTENER "[test t]\nrequest = GET http://a/\nclient = x\nheader = a\nlistener = b\n"
              "expect_upstream = u\nexpect_header = a b: c\n",
     "a.ini:5:10: error: client: \"x\" is no IP address\n"
     "a.ini:6:10: error: header: \"a\": write NAME: VALUE\n"
     "a.ini:7:12: error: listener: there is no [listener b]\n"
     "a.ini:8:19: error: there is no [upstream u]\n"
     "a.ini:9:18: error: expect_header: write NAME or NAME: VALUE\n"},
    {LISTENER "[test t]\nrequest = GET http://a/\nheader = X-A: fine\nheader = X A: b\n"
              "header = \"X-A:  b\\n\"\nheader = : b\nheader = X-A:\nexpect_header = \"a:b\"\n",
     "a.ini:6:11: error: header: \"X A: b\": write NAME: VALUE\n"
     "a.ini:7:17: error: header: \"X-A:  b\n\": write NAME: VALUE\n"
     "a.ini:8:10: error: header: \": b\": write NAME: VALUE\n"},
};

START_TEST(each_mistake_is_said_where_it_stands)
{
    struct config *config = load(mistakes[_i].text);

    ck_assert_str_eq(fake_said(&fake), mistakes[_i].said);
    ck_assert_ptr_null(config);
}
END_TEST

START_TEST(equal_routes_are_an_error_naming_both)
{
    ck_assert_ptr_null(load(LISTENER "[route r]\nhandler = plain\npath = /event\nmethod = POST\n"
                                     "[module counter]\nenabled = yes\n"));
    ck_assert_ptr_nonnull(strstr(fake_said(&fake), "counter.event"));
    ck_assert_ptr_nonnull(strstr(fake_said(&fake), "a.ini:3"));
    ck_assert_uint_eq(fake.d.errors, 1);
}
END_TEST

START_TEST(routes_are_compared_even_when_another_is_wrong)
{
    ck_assert_ptr_null(load(LISTENER "[route wrong]\nhandler = plan\n"
                                     "[route a]\nhandler = plain\npath = /x\nlistener = a\n"
                                     "[route b]\nhandler = plain\npath = /x\n"));
    ck_assert_str_eq(fake_said(&fake),
                     "a.ini:4:11: error: handler: there is no handler plan; did you mean "
                     "\"plain\"?\n"
                     "a.ini:9:1: warning: route \"b\" never answers: all its requests go to route "
                     "\"a\" (a.ini:5)\n");
}
END_TEST

START_TEST(keys_of_server_are_the_defaults_of_listeners_and_routes)
{
    struct config *c = load_fine("[server]\nheader_timeout = 5s\nmax_body = off\n"
                                 "error_page = 404 a.ini\nlog = no\n" LISTENER
                                 "[listener b]\nlisten = :81\nheader_timeout = 6s\n" ROUTE
                                 "[route s]\nhandler = plain\npath = /s\nmax_body = 5k\n"
                                 "error_page = 503,504 a.ini\nlog = yes\n");

    ck_assert_uint_eq(c->listeners[0].header_timeout, 5 * UINT64_C(1000000000));
    ck_assert_uint_eq(c->listeners[1].header_timeout, 6 * UINT64_C(1000000000));
    ck_assert_uint_eq(c->routes[0].max_body, VALUE_OFF);
    ck_assert_uint_eq(c->routes[1].max_body, 5 << 10);
    ck_assert(!c->routes[0].log && c->routes[1].log);
    ck_assert_uint_eq(c->server.error_pages.count, 1);
    ck_assert_uint_eq(c->routes[0].error_pages.count, 1);
    ck_assert_int_eq(c->routes[0].error_pages.list[0].status, 404);
    ck_assert_uint_eq(c->routes[1].error_pages.count, 2);
    ck_assert_int_eq(c->routes[1].error_pages.list[1].status, 504);
    ck_assert(span_starts(c->routes[1].error_pages.list[1].body, SPAN("[server]")));
    config_free(c);
}
END_TEST

START_TEST(a_module_adds_its_routes)
{
    struct config *c = load_fine(LISTENER "[module counter]\nenabled = yes\nhost = a.b\n" ROUTE);

    ck_assert_uint_eq(c->route_count, 2);
    const struct route_conf *r = &c->routes[1];
    ck_assert_span_eq(r->name, "counter.event");
    ck_assert_ptr_eq(r->handler, &counted);
    ck_assert_ptr_eq(r->module_conf, c->modules[1].conf);
    ck_assert_span_eq(r->paths.list[0], "/event");
    ck_assert_span_eq(r->hosts.list[0], "a.b");
    ck_assert_span_eq(r->methods.list[0], "POST");
    ck_assert_uint_eq(r->max_body, 1 << 20);
    config_free(c);
}
END_TEST

START_TEST(servers_of_an_upstream)
{
    struct config *c = load_fine(
        LISTENER
        "[upstream u]\nserver = 10.0.0.1:8080 weight=3 down\nserver = [::1]:81 backup\n"
        "server = http://10.0.0.2\nserver = unix:/x.sock\n"
        "server = 10.0.0.3:1\nretry_on = connect, timeout, 429, 502-504\nbalance = least_conn\n");
    const struct upstream_conf *u = config_upstream(c, SPAN("u"));

    ck_assert_ptr_nonnull(u);
    ck_assert_uint_eq(u->server_count, 5);
    ck_assert_uint_eq(u->servers[0].weight, 3);
    ck_assert(u->servers[0].down && !u->servers[0].backup);
    ck_assert_uint_eq(u->servers[0].address->port, 8080);
    ck_assert_span_eq(u->servers[0].text, "10.0.0.1:8080");
    ck_assert(u->servers[1].backup);
    ck_assert_uint_eq(u->servers[1].address->family, ADDRESS_IPV6);
    ck_assert_uint_eq(u->servers[2].address->port, 80);
    ck_assert_uint_eq(u->servers[3].address->family, ADDRESS_UNIX);
    ck_assert_uint_eq(u->servers[4].max_in_flight, VALUE_OFF);
    ck_assert_uint_eq(u->retry_on.reasons, RETRY_CONNECT | RETRY_TIMEOUT);
    for (int status = 0; status < 1000; status++)
        ck_assert_int_eq(retry_status(&u->retry_on, status),
                         status == 429 || (status >= 502 && status <= 504));
    ck_assert_int_eq(u->balance, BALANCE_LEAST_CONN);
    ck_assert_ptr_null(config_upstream(c, SPAN("v")));
    config_free(c);
}
END_TEST

static int two_addresses(void *data, struct arena *arena, const char *host, struct address **list,
                         unsigned *count)
{
    (void)data;
    (void)host;
    *list = arena_zalloc(arena, 2 * sizeof **list);
    ck_assert_int_eq(address_parse_ip(&(*list)[0], SPAN("192.0.2.7")), 0);
    ck_assert_int_eq(address_parse_ip(&(*list)[1], SPAN("2001:db8::7")), 0);
    *count = 2;
    return 0;
}

START_TEST(names_have_slots_and_listeners_addresses)
{
    fake.source.resolve = two_addresses;
    struct config *c = load_fine("[listener a]\nlisten = Name:80, :81\n"
                                 "[upstream u]\nserver = Name:82\nserver = 10.0.0.1:83\n"
                                 "[upstream v]\nserver = name:82\nfamily = ipv6\n");
    const struct server_entry *slots = c->upstreams[0].servers;

    ck_assert_uint_eq(c->listeners[0].listen.count, 3);
    ck_assert_span_eq(c->listeners[0].listen.list[1].text, "192.0.2.7:80");
    ck_assert_span_eq(c->listeners[0].listen.list[2].text, "[2001:db8::7]:80");
    ck_assert_uint_eq(c->upstreams[0].server_count, SLOTS_PER_NAME + 1);
    ck_assert(slots[1].named && !slots[1].address && !slots[SLOTS_PER_NAME].named);
    ck_assert_span_eq(slots[1].host, "name");
    ck_assert_span_eq(slots[1].text, "Name:82");
    ck_assert_span_eq(slots[1].key, "Name:82 any 1");
    ck_assert_span_eq(slots[SLOTS_PER_NAME].key, "10.0.0.1:83");
    ck_assert_span_eq(c->upstreams[1].servers[0].key, "name:82 ipv6 0");
    config_free(c);
}
END_TEST

START_TEST(resolvers_and_services)
{
    if (!resolver_library)
        return;
    struct config *c = load_fine("[server]\nresolver = 10.0.0.1, 10.0.0.2:5353, ::1, [::1]:54\n"
                                 "resolver_timeout = 300ms\nresolver_ttl = max=1m\n" LISTENER
                                 "[upstream u]\nserver = srv:_http._tcp.API.internal weight=3\n");
    const struct server_entry *e = c->upstreams[0].servers;

    ck_assert_str_eq(c->server.resolver, "10.0.0.1:53,10.0.0.2:5353,[::1]:53,[::1]:54");
    ck_assert_uint_eq(c->server.resolver_timeout, 300 * NS_PER_MS);
    ck_assert_uint_eq(c->server.resolver_ttl_min, NS_PER_S);
    ck_assert_uint_eq(c->server.resolver_ttl_max, 60 * NS_PER_S);
    ck_assert(e->named && e->services && e->weight == 3);
    ck_assert_span_eq(e->host, "_http._tcp.API.internal");
    ck_assert_span_eq(e->authority, "API.internal");
    config_free(c);
}
END_TEST

START_TEST(conditions_and_edits_are_split)
{
    struct config *c = load_fine(
        LISTENER ROUTE "match_header = X-A\nmatch_header = !X-B\nmatch_header = cookie=a=b\n"
                       "match_query = q!=1\nmatch_query = r^=x y\n"
                       "response_header = set X-C a ${host} b\nresponse_header = remove X-D-*\n"
                       "request_header = default Cookie \"\"\n");
    const struct route_conf *r = &c->routes[0];
    static const enum condition_kind kinds[] = {CONDITION_PRESENT, CONDITION_ABSENT,
                                                CONDITION_EQUAL, CONDITION_NOT_EQUAL,
                                                CONDITION_PREFIX};
    static const char *const names[] = {"X-A", "X-B", "cookie", "q", "r"};

    ck_assert_uint_eq(r->match.count, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(r->match.list[i].kind, kinds[i]);
        ck_assert_span_eq(r->match.list[i].name, names[i]);
        ck_assert_int_eq(r->match.list[i].in_query, i >= 3);
    }
    ck_assert_uint_eq(r->match.list[2].id, FIELD_COOKIE);
    ck_assert_span_eq(r->match.list[2].value, "a=b");
    ck_assert_span_eq(r->match.list[4].value, "x y");
    ck_assert_uint_eq(r->response_edits.count, 2);
    ck_assert_uint_eq(r->response_edits.list[0].value->count, 3);
    ck_assert_int_eq(r->response_edits.list[1].kind, EDIT_REMOVE_PREFIX);
    ck_assert_span_eq(r->response_edits.list[1].name, "X-D-");
    ck_assert_uint_eq(r->request_edits.list[0].id, FIELD_COOKIE);
    ck_assert_uint_eq(r->request_edits.list[0].value->count, 0);
    config_free(c);
}
END_TEST

START_TEST(what_needs_a_restart_is_named)
{
    static const struct {
        const char *text, *key;
    } rows[] = {
        {"[server]\nworkers = 3\n" LISTENER, "workers"},
        {"[server]\nengine = epoll\n" LISTENER, "engine"},
        {"[server]\nengine_disable = poll_first\n" LISTENER, "engine_disable"},
        {"[server]\nuser = a\n" LISTENER, "user"},
        {"[server]\nuser = b\ngroup = a\n" LISTENER, "user, group"},
        {"[server]\npid_file = a\n" LISTENER, "pid_file"},
        {"[server]\ncontrol = a\n" LISTENER, "control"},
        {"[server]\nbuffer_memory = 5m\n" LISTENER, "buffer_memory"},
        {LISTENER "backlog = 5\n", "backlog"},
        {"[server]\ndrain_timeout = 5s\n" LISTENER "[listener b]\nlisten = :81\nbacklog = 5\n", ""},
        {"[server]\nworkers = 3\nengine = epoll\nengine_disable = poll_first\nuser = b\ngroup = a\n"
         "pid_file = a\nbuffer_memory = 5m\n" LISTENER "backlog = 5\n",
         "workers, engine, engine_disable, user, group, pid_file, buffer_memory, backlog"},
    };
    struct config *before = load_fine(LISTENER);

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        fake.files[0].path = NULL;
        struct config *after = load_fine(rows[i].text);
        char text[NEEDS_RESTART_TEXT];
        ck_assert_span_eq(config_needs_restart(before, after, text), rows[i].key);
        config_free(after);
    }
    config_free(before);
}
END_TEST

/* --- [test] ------------------------------------------------------------------------ */

#define WORLD                                                                                      \
    "[listener a]\nlisten = :80\ntrusted = 10.0.0.0/8\n[listener b]\nlisten = :81\n"               \
    "[upstream u]\nserver = [::1]:1\n"                                                             \
    "[route r]\nhandler = plain\npath = /r/*\nresponse_header = set X-Ip ${client_ip}\n"           \
    "[route post]\nhandler = plain\npath = /post\nmethod = POST\nlistener = b\nstatus = 201\n"     \
    "[route o]\nhandler = origin\nupstream = u\npath = /o/*\nstrip_prefix = /o\n"                  \
    "[route h]\nhandler = plain\npath = /r/*\nmatch_header = X-Team=red\n"                         \
    "[test t]\n" /* line 27 */

static const struct mistake verdicts[] = {
    {"request = GET http://x/r/1\nexpect_route = r\nexpect_status = 200\n"
     "expect_header = x-text: hello\n",
     ""},
    {"request = GET http://x/r/1\nexpect_header = X-Ip: 192.0.2.1\n", ""},
    {"request = GET http://x/r/1\nclient = 10.1.1.1\nheader = X-Forwarded-For: 9.9.9.9\n"
     "expect_header = X-Ip: 9.9.9.9\n",
     ""},
    {"request = GET http://x/r/1\nheader = X-Forwarded-For: 9.9.9.9\n"
     "expect_header = X-Ip: 192.0.2.1\n",
     ""},
    {"request = GET http://x/r/1\nheader = X-Team: red\nexpect_route = h\n", ""},
    {"request = GET http://x/o/p?q\nexpect_upstream = u\nexpect_path = /p?q\n", ""},
    {"request = GET http://x\nexpect_route = none\nexpect_status = 404\n", ""},
    {"request = POST http://x:81/post\nexpect_status = 201\n", ""},
    {"request = GET http://x:81/post\nexpect_status = 405\n", ""},
    {"request = POST http://x/post\nlistener = b\nexpect_status = 201\n", ""},
    {"request = POST http://x/post\nexpect_status = 404\n", ""},
    {"request = GET http://x/r/%2e%2e/%2e%2e/x\nexpect_status = 400\n", ""},
    {"request = GET http://x/r/a%2Fb\nexpect_status = 400\nexpect_route = r\n", ""},
    {"request = TRACE http://x/r/\nexpect_status = 405\n", ""},
    {"request = GET http://x/r/1\nexpect_route = h\n",
     "a.ini:29:16: error: [test t] expect_route: expected \"h\", it is \"r\"\n"},
    {"request = GET http://x/q\nexpect_route = h\nexpect_status = 200\n",
     "a.ini:29:16: error: [test t] expect_route: expected \"h\", it is \"none\"\n"
     "a.ini:30:17: error: [test t] expect_status: expected \"200\", it is \"404\"\n"},
    {"request = GET http://x/o/\nexpect_status = 200\nexpect_header = a\n",
     "a.ini:29:17: error: [test t] expect_status: only a disk or an origin can tell\n"
     "a.ini:30:17: error: [test t] expect_header: only respond and redirect can tell\n"},
    {"request = GET http://x/o/p\nexpect_upstream = v\nexpect_path = /o/p\n[upstream v]\n"
     "server = [::1]:2\n",
     "a.ini:29:19: error: [test t] expect_upstream: expected \"v\", it is \"u\"\n"
     "a.ini:30:15: error: [test t] expect_path: expected \"/o/p\", it is \"/p\"\n"},
    {"request = GET http://x/r/1\nexpect_header = X-Text: bye\n",
     "a.ini:29:25: error: [test t] expect_header: expected \"bye\", it is \"hello\"\n"},
    {"request = GET http://x/r/1\nexpect_header = \"X-Tex\"\n",
     "a.ini:29:17: error: [test t] expect_header: expected \"X-Tex\", it is \"\"\n"},
    {"request = GET http://x:82/r/1\nexpect_status = 200\n",
     "a.ini:28:11: error: [test t] request: no listener takes it\n"},
    {"request = GET https://x/r/1\nexpect_status = 200\n",
     "a.ini:28:11: error: [test t] request: no listener takes it\n"},
};

START_TEST(a_test_says_what_it_met)
{
    static char text[4096];

    snprintf(text, sizeof text, "%s%s", WORLD, verdicts[_i].text);
    struct config *config = load_fine(text);
    config_run_tests(config, &fake.d);
    ck_assert_str_eq(fake_said(&fake), verdicts[_i].said);
    config_free(config);
}
END_TEST

/* What the peer says, whether it is trusted, and what ${scheme}://${host} stands for. */
static const struct {
    const char *from, *client, *said, *seen;
} told[] = {
    {"x-forwarded-for", "10.1.1.1", "X-Forwarded-Proto: HTTPS", "https://x"},
    {"x-forwarded-for", "11.1.1.1", "X-Forwarded-Proto: https", "http://x"},
    {"x-forwarded-for", "10.1.1.1", "X-Forwarded-Proto: https, http", "http://x"},
    {"x-forwarded-for", "10.1.1.1", "X-Forwarded-Proto: gopher", "http://x"},
    {"x-forwarded-for", "10.1.1.1", "X-Forwarded-Host: a, B.example:8080", "http://b.example"},
    {"x-forwarded-for", "11.1.1.1", "X-Forwarded-Host: b.example", "http://x"},
    {"x-forwarded-for", "10.1.1.1", "X-Forwarded-Host: a@b", "http://x"},
    {"off", "10.1.1.1", "X-Forwarded-Proto: https", "https://x"},
    {"x-forwarded-for", "10.1.1.1", "Forwarded: proto=https;host=b", "http://x"},
    {"forwarded", "10.1.1.1", "Forwarded: for=1.1.1.1;Proto=https; host=b:1", "https://b"},
    {"forwarded", "10.1.1.1", "Forwarded: proto=https;host=a, for=2.2.2.2", "http://x"},
    {"forwarded", "11.1.1.1", "Forwarded: proto=https;host=b", "http://x"},
    {"forwarded", "10.1.1.1", "X-Forwarded-Proto: https", "http://x"},
};

START_TEST(scheme_and_host_are_what_trusted_peers_say)
{
    static char text[1024];

    snprintf(text, sizeof text,
             LISTENER "trusted = 10.0.0.0/8\nclient_ip_from = %s\n"
                      "[route r]\nhandler = plain\n"
                      "response_header = set X-Seen ${scheme}://${host}\n"
                      "[test t]\nrequest = GET http://x/\nclient = %s\n"
                      "header = %s\nexpect_header = X-Seen: %s\n",
             told[_i].from, told[_i].client, told[_i].said, told[_i].seen);
    struct config *config = load_fine(text);
    config_run_tests(config, &fake.d);
    ck_assert_str_eq(fake_said(&fake), "");
    config_free(config);
}
END_TEST

Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *test = tcase_create("config");

    tcase_add_checked_fixture(test, configs_setup, configs_teardown);
    tcase_add_test(test, a_small_file_has_all_the_defaults);
    tcase_add_loop_test(test, each_mistake_is_said_where_it_stands, 0, COUNT_OF(mistakes));
    tcase_add_test(test, equal_routes_are_an_error_naming_both);
    tcase_add_test(test, routes_are_compared_even_when_another_is_wrong);
    tcase_add_test(test, keys_of_server_are_the_defaults_of_listeners_and_routes);
    tcase_add_test(test, a_module_adds_its_routes);
    tcase_add_test(test, servers_of_an_upstream);
    tcase_add_test(test, names_have_slots_and_listeners_addresses);
    tcase_add_test(test, resolvers_and_services);
    tcase_add_test(test, conditions_and_edits_are_split);
    tcase_add_test(test, what_needs_a_restart_is_named);
    tcase_add_loop_test(test, scheme_and_host_are_what_trusted_peers_say, 0, (int)COUNT_OF(told));
    tcase_add_loop_test(test, a_test_says_what_it_met, 0, COUNT_OF(verdicts));
    suite_add_tcase(suite, test);
    return suite;
}
