#include "reach.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"

/* Whose new directories are to be. */
struct owner {
	uid_t uid;
	gid_t gid;
};

static int make_directory(const char *path, struct owner owner)
{
	if (mkdir(path, 0755) != 0)
		return errno == EEXIST ? 0 : errno;
	if (owner.uid == 0 && owner.gid == 0)
		return 0;
	return chown(path, owner.uid, owner.gid) == 0 ? 0 : errno;
}

static int make_directories(const char *path, struct owner owner)
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
		int failure = make_directory(part, owner);
		if (failure != 0)
			return failure;
		if (at < length)
			part[at] = '/';
	}
	return 0;
}

static bool parse_owner(char **words, struct owner *owner)
{
	uint64_t uid;
	uint64_t gid;
	if (!parse_number(words[0], UINT32_MAX - 1, &uid) || !words[1] || !parse_number(words[1], UINT32_MAX - 1, &gid))
		return false;
	*owner = (struct owner){ (uid_t)uid, (gid_t)gid };
	return true;
}

int reach_main(const char *path, char **owner_words)
{
	struct owner owner = { 0, 0 };
	bool make = owner_words != NULL;
	if (make && owner_words[0] && !parse_owner(owner_words, &owner))
		return 2;

	/* What hangs here would outlive a daemon that was killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct stat found;
	int result = stat(path, &found) == 0 ? 0 : errno;
	if (result == ENOENT && make)
		result = make_directories(path, owner);
	printf("%d\n", result);
	return fflush(stdout) == 0 ? 0 : 1;
}
