/*
 * berth-monitor: what keeps a container alive without the daemon.
 *   berth-monitor run NAME      one run of a container or one exec
 *   berth-monitor hold DIR …    the descriptor store of an exec-root, with the cgroups that it enters
 *   berth-monitor init -- CMD   the first process of a container, for --init
 *   berth-monitor unmount       unmounts what its input names, apart from the daemon
 *   berth-monitor mount         mounts what its input tells, apart from the daemon
 *   berth-monitor reach PATH    says whether PATH is there, apart from the daemon; with `make`, makes it
 */
#include <stdio.h>
#include <string.h>

#include "hold.h"
#include "init.h"
#include "mount.h"
#include "reach.h"
#include "run.h"
#include "unmount.h"

static int usage(void)
{
	fputs("usage: berth-monitor run NAME | hold DIRECTORY [CGROUP...] | init [--] COMMAND [ARGUMENT...] | unmount | mount | reach PATH [make]\n"
	      "All but init are started by berthd, which hands them descriptors.\n",
		stderr);
	return 2;
}

/* Docker mounts its init at this name and calls it without a mode. */
static int is_init_name(const char *name)
{
	const char *slash = strrchr(name, '/');
	return strcmp(slash ? slash + 1 : name, "docker-init") == 0;
}

int main(int count, char **arguments)
{
	if (count >= 2 && is_init_name(arguments[0]))
		return init_main(arguments + 1);
	if (count == 3 && strcmp(arguments[1], "run") == 0)
		return run_main(arguments[2]);
	if (count >= 3 && strcmp(arguments[1], "hold") == 0)
		return hold_main(arguments[2], arguments + 3);
	if (count == 2 && strcmp(arguments[1], "unmount") == 0)
		return unmount_main();
	if (count == 2 && strcmp(arguments[1], "mount") == 0)
		return mount_main();
	if ((count == 3 || count == 4) && strcmp(arguments[1], "reach") == 0)
		return reach_main(arguments[2], count == 4 && strcmp(arguments[3], "make") == 0);
	if (count >= 3 && strcmp(arguments[1], "init") == 0)
		return init_main(arguments + 2);
	return usage();
}
