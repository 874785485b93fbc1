/*
 * berth-monitor: what keeps a container alive without the daemon.
 *   berth-monitor run NAME      one run of a container or one exec
 *   berth-monitor hold DIR …    the descriptor store of an exec-root, with the cgroups that it enters
 *   berth-monitor init -- CMD   the first process of a container, for --init
 *   berth-monitor unmount       unmounts what its input names, apart from the daemon
 *   berth-monitor mount         mounts what its input tells, apart from the daemon
 *   berth-monitor userns        holds a user namespace until its input ends; with `net`, a network namespace of it,
 *                               too; with a PATH after that, a network namespace of the user namespace there
 *   berth-monitor bare          holds a mount namespace with nothing in it until its input ends
 *   berth-monitor reach PATH    says whether PATH is there, apart from the daemon; with `make`, makes it, for UID and GID where they are given
 */
#include <stdio.h>
#include <string.h>

#include "hold.h"
#include "init.h"
#include "mount.h"
#include "reach.h"
#include "run.h"
#include "unmount.h"
#include "user_namespace.h"
#include "view.h"

static int usage(void)
{
	fputs("usage: berth-monitor run NAME | hold DIRECTORY [CGROUP...] | init [--] COMMAND [ARGUMENT...] | unmount | mount | userns [net [PATH]] | bare | reach PATH [make [UID GID]]\n"
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
	if (count == 2 && strcmp(arguments[1], "userns") == 0)
		return user_namespace_main(false, NULL);
	if ((count == 3 || count == 4) && strcmp(arguments[1], "userns") == 0 && strcmp(arguments[2], "net") == 0)
		return user_namespace_main(true, count == 4 ? arguments[3] : NULL);
	if (count == 3 && strcmp(arguments[1], "reach") == 0)
		return reach_main(arguments[2], NULL);
	if ((count == 4 || count == 6) && strcmp(arguments[1], "reach") == 0 && strcmp(arguments[3], "make") == 0)
		return reach_main(arguments[2], arguments + 4);
	if (count == 2 && strcmp(arguments[1], "bare") == 0)
		return bare_main();
	if (count >= 3 && strcmp(arguments[1], "init") == 0)
		return init_main(arguments + 2);
	return usage();
}
