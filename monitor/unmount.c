#include "unmount.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

/* A busy mount is detached: it goes when its last user does. */
static int unmount_one(const char *path)
{
	if (umount2(path, UMOUNT_NOFOLLOW) == 0)
		return 0;
	return umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH);
}

int unmount_main(void)
{
	static char line[PATH_MAX + 2];
	while (fgets(line, sizeof line, stdin)) {
		size_t length = strcspn(line, "\n");
		/* What does not fit is no path; its rest would be taken for another one. */
		if (line[length] != '\n')
			return 1;
		line[length] = '\0';
		if (unmount_one(line) == 0)
			puts("ok");
		else
			printf("failed %s\n", strerror(errno));
		if (fflush(stdout) != 0)
			return 1;
	}
	return 0;
}
