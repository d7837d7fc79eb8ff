/* Clocks with an error of rate. */
#include "tests/sim/clock.h"

#define MILLION 1000000

struct instant sim_clock_read(const struct sim_clock *c, usec_t t)
{
        int64_t passed = (int64_t)(t - c->started);

        return (struct instant){ c->reading + (uint64_t)(passed + passed * c->ppm / MILLION) };
}

usec_t sim_clock_when(const struct sim_clock *c, struct instant reading, usec_t t)
{
        int64_t wanted;
        usec_t ret;

        if (reading.usec == UINT64_MAX)
                return USEC_INFINITY;
        if (sim_clock_read(c, t).usec >= reading.usec)
                return t;
        wanted = (int64_t)(reading.usec - c->reading);
        ret = c->started + (usec_t)(wanted - wanted * c->ppm / (MILLION + c->ppm));
        while (ret > t && sim_clock_read(c, ret - 1).usec >= reading.usec)
                ret--;
        while (sim_clock_read(c, ret).usec < reading.usec)
                ret++;
        return ret > t ? ret : t;
}
