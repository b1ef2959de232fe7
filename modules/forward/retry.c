/* Whether a request is tried again: only what is safe, and for which there is
 * a reason, a try, and where it costs the origin something the budget. */
#include "modules/forward/forward.h"

/* The client still wants it, none of an answer went to it, and what was sent
 * of the content is at hand. */
static bool may_begin_again(const struct exchange *x, const struct forward_conf *conf,
                            const struct leg *leg)
{
    if (x->client_gone || x->broken || leg->interim_passed || leg->content_lost)
        return false;
    return x->tries < (conf->tries == VALUE_AUTO ? leg->upstream->tries : conf->tries);
}

bool forward_retries_failure(const struct exchange *x, const struct forward_conf *conf,
                             struct leg *leg)
{
    uint64_t on = retry_on_of(conf, leg)->reasons;

    if (leg->response_begun || !may_begin_again(x, conf, leg))
        return false;
    if (leg->fresh_failed)
        return on & (leg->connecting_failed ? RETRY_CONNECT : RETRY_UNPROCESSED);
    if (!method_idempotent(x->request.method))
        return false;
    switch (leg->cause) {
    case CAUSE_upstream_tls_failed:
    case CAUSE_upstream_reset_before_head:
    case CAUSE_upstream_closed_unproven:
        return on & RETRY_RESET && leg_affords(leg);
    case CAUSE_upstream_head_timeout:
        return on & RETRY_TIMEOUT && leg_affords(leg);
    default:
        return false;
    }
}

/* An answer is not given up unless somebody else may have a better one. */
bool forward_retries_answer(const struct exchange *x, const struct forward_conf *conf,
                            struct leg *leg)
{
    if (!leg->may_refuse || !retry_status(retry_on_of(conf, leg), leg->response.status))
        return false;
    if (x->request_content.fail || !may_begin_again(x, conf, leg))
        return false;
    return leg_has_other(leg) && leg_affords(leg);
}
