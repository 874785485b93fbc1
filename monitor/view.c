#include "view.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"

/* The same on every architecture; the C library may not know them. */
#define CALL_OPEN_TREE 428
#define CALL_MOVE_MOUNT 429
#define CLONE_TREE 1
#define WHOLE_TREE 0x8000
#define FROM_DESCRIPTOR 4

static int clone_mounts(const char *path, unsigned flags)
{
	return (int)syscall(CALL_OPEN_TREE, AT_FDCWD, path, flags | CLONE_TREE | O_CLOEXEC);
}

static int attach(int tree, const char *path)
{
	return (int)syscall(CALL_MOVE_MOUNT, tree, "", AT_FDCWD, path, FROM_DESCRIPTOR);
}

static int enter_root(int tree)
{
	return attach(tree, "/") < 0 || fchdir(tree) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -1 : 0;
}

const char *view_enter(const struct spec *spec)
{
	int brought[SPEC_LIST_MAX];
	int tree = clone_mounts("/", WHOLE_TREE);
	if (tree < 0)
		return "cannot copy the mounts of the host for";
	for (size_t i = 0; i < spec->brought_count; i++)
		if ((brought[i] = clone_mounts(spec->brought[i], 0)) < 0)
			return "cannot copy the mounts of a container for";
	/* Copying an empty namespace costs next to nothing, unlike the host's own. */
	int bare = open(spec->bare, O_RDONLY | O_CLOEXEC);
	if (bare < 0 || setns(bare, CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0)
		return "cannot enter a mount namespace like";
	if (enter_root(tree) < 0)
		return "cannot mount what the host has in a copy of";
	for (size_t i = 0; i < spec->brought_count; i++)
		if (attach(brought[i], spec->brought[i]) < 0)
			return "cannot mount what a container has in a copy of";
	return NULL;
}

static int leave_all_mounts(void)
{
	const char *place = "/proc";
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno;
	if (mount("berth", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=755") < 0 || chdir(place) < 0)
		return errno;
	/* Both at one place: the old root lies over the new one, and is taken off. */
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return errno;
	return 0;
}

/* Whether view_enter can do its first step. */
static int try_clone(void)
{
	int tree = clone_mounts("/", WHOLE_TREE);
	if (tree < 0)
		return errno;
	close(tree);
	return 0;
}

int bare_main(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int result = try_clone();
	return process_answer_and_stay(result == 0 ? leave_all_mounts() : result);
}
