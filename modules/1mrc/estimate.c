/* HyperLogLog with the estimator of O. Ertl, "New cardinality estimation
 * algorithms for HyperLogLog sketches", 2017: no bias, no tables and no seam
 * between small and large counts. */
#include "modules/1mrc/estimate.h"

#include <math.h>

void estimate_merge(struct estimate *e, const struct estimate *other)
{
    for (size_t i = 0; i < ESTIMATE_REGISTERS; i++)
        e->rank[i] = other->rank[i] > e->rank[i] ? other->rank[i] : e->rank[i];
}

/* x + x^2 + 2 x^4 + 4 x^8 + …: what the registers that are still 0 say. */
static double sigma(double x)
{
    double y = 1, z = x, before;

    if (x >= 1)
        return INFINITY;
    do {
        before = z;
        x *= x;
        z += x * y;
        y += y;
    } while (z > before);
    return z;
}

double estimate_count(const struct estimate *e)
{
    const double m = ESTIMATE_REGISTERS;
    unsigned ranks[ESTIMATE_RANK_MAX + 1] = {0};

    for (size_t i = 0; i < ESTIMATE_REGISTERS; i++)
        ranks[e->rank[i]]++;
    /* The paper has a second series here, for registers that can count no
     * further.  Ours have 64 bits to go: nobody will see one. */
    double z = ranks[ESTIMATE_RANK_MAX];
    for (int k = ESTIMATE_RANK_MAX - 1; k >= 1; k--)
        z = (z + ranks[k]) / 2;
    z += m * sigma(ranks[0] / m);
    const double twice_ln_2 = 1.3862943611198906;
    return m * m / (twice_ln_2 * z);
}
