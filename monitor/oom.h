/* Word of the kernel's out-of-memory killer in the container's memory cgroup, version 1 or 2. */
#ifndef BERTH_OOM_H
#define BERTH_OOM_H

#include <stdbool.h>
#include <stdint.h>

struct oom_watch {
	/* Readable at an event: an eventfd (v1) or an inotify descriptor (v2); -1 where nothing is watched. */
	int fd;
	const char *directory;
	bool made;
	bool version2;
	/* An event came; and, known for sure at the end, a process was killed. */
	bool noticed;
	bool killed;
	uint64_t kills_before;
};

/* Makes the cgroup where it is missing, so that nothing is missed from the start. 0, or -1 and errno. */
int oom_open(struct oom_watch *watch, const char *directory);

/* The descriptor is readable; true if the container's memory ran out. */
bool oom_event(struct oom_watch *watch);

/* Whether one has been killed: to be asked before anyone removes the cgroup. */
bool oom_killed(struct oom_watch *watch);

/* Nothing ran: removes the cgroup if we made it. */
void oom_undo(struct oom_watch *watch);

#endif
