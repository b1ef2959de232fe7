/* Which server of a group gets a request. */
#ifndef HEADGATE_GATE_BALANCE_H
#define HEADGATE_GATE_BALANCE_H

#include "gate/pool.h"

/* One that was not tried and has room, by the group's balance, its backups only
 * when no other may be used; -1 when there is none.  Sets *full when somebody
 * was passed over who is at his limit. */
int balance_choose(const struct pool_view *view, const struct upstream_conf *conf,
                   struct exchange *x, const struct tried *tried, bool *full);

/* One that was not tried, even if it is ejected: for a request that failed elsewhere and would
 * fail again.  -1 when there is none. */
int balance_last(const struct pool_view *view, const struct upstream_conf *conf,
                 struct exchange *x, const struct tried *tried);

/* Is there one that was not tried and has room? */
bool balance_has_other(const struct pool_view *view, const struct upstream_conf *conf,
                       struct exchange *x, const struct tried *tried);

#endif
