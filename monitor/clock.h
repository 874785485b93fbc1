/* The wall clock in nanoseconds, the monotonic one in milliseconds, and time as Go writes it. */
#ifndef BERTH_CLOCK_H
#define BERTH_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_TEXT_MAX 32

uint64_t clock_wall_ns(void);
int64_t clock_mono_ms(void);

/* RFC 3339 in UTC, the fraction without trailing zeros; returns the length without the terminator. */
size_t clock_format(uint64_t nanos, char to[CLOCK_TEXT_MAX]);

#endif
