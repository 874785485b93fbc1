#include "mount.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>

enum { SOURCE, TARGET, TYPE, FLAGS, DATA, FIELDS };

static const unsigned long propagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;

/* Gives 0 where the input has not exactly its fields. */
static int read_fields(char *fields[FIELDS])
{
	static char input[1 << 16];
	size_t length = fread(input, 1, sizeof input, stdin);
	size_t at = 0;
	for (int field = 0; field < FIELDS; field++) {
		char *end = memchr(input + at, '\0', length - at);
		if (!end)
			return 0;
		fields[field] = input + at;
		at = (size_t)(end - input) + 1;
	}
	return at == length;
}

/* The kernel takes a change of propagation, and of a bind to read-only, in calls of their own. */
static int adjust(const char *target, unsigned long flags)
{
	if (flags & propagation && mount("", target, "", flags & (propagation | MS_REC), "") != 0)
		return errno;
	unsigned long rest = flags & ~propagation;
	if (rest & MS_BIND && rest & MS_RDONLY && mount("", target, "", (rest & ~(unsigned long)MS_REC) | MS_REMOUNT, "") != 0)
		return errno;
	return 0;
}

static int mount_whole(char *const fields[FIELDS], unsigned long flags)
{
	if (mount(fields[SOURCE], fields[TARGET], fields[TYPE], flags & ~propagation, fields[DATA]) != 0)
		return errno;
	int result = adjust(fields[TARGET], flags);
	if (result != 0)
		umount2(fields[TARGET], MNT_DETACH);
	return result;
}

int mount_main(void)
{
	/* What hangs here would outlive a daemon that was killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	char *fields[FIELDS];
	int result = EINVAL;
	if (read_fields(fields))
		result = mount_whole(fields, strtoul(fields[FLAGS], NULL, 10));
	printf("%d\n", result);
	return fflush(stdout) == 0 ? 0 : 1;
}
