#include "clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_wall_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int64_t clock_mono_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static char *two_digits(char *at, unsigned value)
{
	at[0] = (char)('0' + value / 10 % 10);
	at[1] = (char)('0' + value % 10);
	return at + 2;
}

/* Days since the epoch to a civil date: years begin in March, so that the leap day is a year's last. */
static char *put_date(char *at, uint64_t days)
{
	uint64_t shifted = days + 719468;
	uint64_t era = shifted / 146097;
	unsigned day_of_era = (unsigned)(shifted % 146097);
	unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned march_month = (5 * day_of_year + 2) / 153;
	unsigned day = day_of_year - (153 * march_month + 2) / 5 + 1;
	unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
	unsigned year = (unsigned)(era * 400) + year_of_era + (month <= 2 ? 1 : 0);
	at = two_digits(two_digits(at, year / 100), year % 100);
	*at++ = '-';
	at = two_digits(at, month);
	*at++ = '-';
	return two_digits(at, day);
}

size_t clock_format(uint64_t nanos, char to[CLOCK_TEXT_MAX])
{
	uint64_t seconds = nanos / 1000000000u;
	unsigned in_day = (unsigned)(seconds % 86400);
	unsigned fraction = (unsigned)(nanos % 1000000000u);
	char *at = put_date(to, seconds / 86400);
	*at++ = 'T';
	at = two_digits(at, in_day / 3600);
	*at++ = ':';
	at = two_digits(at, in_day / 60 % 60);
	*at++ = ':';
	at = two_digits(at, in_day % 60);
	if (fraction != 0) {
		*at++ = '.';
		for (unsigned unit = 100000000; fraction != 0; unit /= 10) {
			*at++ = (char)('0' + fraction / unit);
			fraction %= unit;
		}
	}
	*at++ = 'Z';
	*at = '\0';
	return (size_t)(at - to);
}
