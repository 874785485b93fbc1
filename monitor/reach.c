#include "reach.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static int make_directories(const char *path)
{
	static char part[PATH_MAX];
	size_t length = strlen(path);
	if (length >= sizeof part)
		return ENAMETOOLONG;
	memcpy(part, path, length + 1);
	for (size_t at = 1; at <= length; at++) {
		if (part[at] != '/' && part[at] != '\0')
			continue;
		part[at] = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return errno;
		if (at < length)
			part[at] = '/';
	}
	return 0;
}

int reach_main(const char *path, int make)
{
	/* What hangs here would outlive a daemon that was killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct stat found;
	int result = stat(path, &found) == 0 ? 0 : errno;
	if (result == ENOENT && make)
		result = make_directories(path);
	printf("%d\n", result);
	return fflush(stdout) == 0 ? 0 : 1;
}
