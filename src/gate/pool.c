/* Connections to origins; see pool.h. */
#include "gate/pool.h"

int pools_open(struct worker *w)
{
    (void)w;
    return 0;
}

void pools_adopt(struct worker *w, struct config *config)
{
    (void)w, (void)config;
}

bool pools_close(struct worker *w)
{
    (void)w;
    return true;
}
