/* Request targets and paths (RFC 9112, 3.2; RFC 3986, 5.2.4, 6.2.2).
 *
 * One normal form decides everything: the path is matched as it will be
 * served.  Unreserved escapes are decoded, runs of slashes merged, dot
 * segments removed.  %2F and %5C stay as they are and are flagged.
 */
#ifndef HEADGATE_HTTP_TARGET_H
#define HEADGATE_HTTP_TARGET_H

#include "base/arena.h"

enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_ASTERISK, TARGET_AUTHORITY };

struct target {
    enum target_form form;
    struct span scheme, authority; /* of the absolute form */
    struct span path;              /* as sent; "/" if an absolute form had none; "*" */
    struct span query;             /* as sent, without the '?' */
    bool has_query;
};

/* False: malformed (a control, space, '#', non-ASCII byte, a bad escape in the
 * path; a scheme other than http and https, an authority that is no host).  A
 * query is taken as browsers send it: '%' may stand for itself there. */
MUST_USE bool target_parse(struct target *t, struct span text);

struct path {
    struct span normal; /* the path to match; equals the one sent when nothing was to do */
    bool had_dots;      /* dot segments were removed: forward the normal form, not the one sent */
    bool has_encoded_slash; /* %2F or %5C was in the one sent */
};

enum path_fault { PATH_OK, PATH_BAD, PATH_MEMORY };

/* Escapes that stay get upper-case digits, and visible ASCII that RFC 3986 does not
 * allow in a path ('{', '|', '"' ...) becomes an escape: /%7bx%7D and /{x} are one path.
 * PATH_BAD: %00, a backslash, a bad escape, above the root, or a segment such as
 * "..;x" or "..%2F" that some servers take for "..".  "*" stays as it is.  Nothing is allocated,
 * and normal points into `sent`, when sent is in normal form already (one fast scan). */
enum path_fault path_normalise(struct path *p, struct span sent, struct arena *arena);

/* All escapes decoded, %2F too; for file names and comparing query values.
 * ptr NULL: no memory or a bad escape. plus_is_space for queries. */
struct span percent_decode(struct arena *arena, struct span s, bool plus_is_space);

/* A Host or :authority value (RFC 9110, 7.2): splits name and port and puts
 * the name in lower case without the trailing dot.  name points into
 * `authority` when nothing was to do, else into `scratch` (256 bytes).
 * An IPv6 address keeps its brackets; an empty name without a port is valid.
 * False: malformed (userinfo, bad characters, an escape, an empty label, bad brackets,
 * bad port, name over 255). */
MUST_USE bool host_parse(struct span authority, char scratch[256], struct span *name,
                         struct span *port);

/* The second half of that, for a name that is known to be good. */
struct span host_name_normalise(struct span name, char scratch[256]);

/* Is it what host_parse() takes? */
bool host_is_valid(struct span authority);
bool host_port_is_valid(struct span port); /* what is behind the ':', which may be nothing */

/* Finds a name in a query; the value as sent.  Names are compared decoded. */
bool query_find(struct span query, struct span name, struct span *value);

#endif
