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
	/* Version 2: the counters changed at least once, and the kills below the parent when they were last read. */
	bool changed;
	uint64_t parent_kills;
};

/* Makes the cgroup where it is missing, so that nothing is missed from the start. 0, or -1 and errno. */
int oom_open(struct oom_watch *watch, const char *directory);

/* The descriptor is readable; true if the container's memory ran out. */
bool oom_event(struct oom_watch *watch);

/*
 * Whether one has been killed: to be asked at once when the first process has ended, since systemd removes a scope's
 * cgroup when it is empty. `by_kill`: SIGKILL ended it.
 */
bool oom_killed(struct oom_watch *watch, bool by_kill);

/* Nothing ran: removes the cgroup if we made it. */
void oom_undo(struct oom_watch *watch);

#endif
