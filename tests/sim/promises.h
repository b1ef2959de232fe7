/* What every story promises, whatever else it is about:
 *
 * - a group's retries never exceed its budget;
 * - a server that is ejected, or that checks or an order took out, is asked
 *   for nothing but the probe;
 * - no request is lost silently: each ends, with a status or a cause;
 * - when a gateway has ended, what it counted in flight is zero.
 *
 * That no request is answered twice, whoever asks sees to: visitor.c, caller.c.
 */
#ifndef HEADGATE_TESTS_SIM_PROMISES_H
#define HEADGATE_TESTS_SIM_PROMISES_H

struct gate;

/* Its workers have ended, and are not yet closed. */
void promises_kept(const struct gate *gate);

#endif
