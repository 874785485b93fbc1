#include "oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "bytes.h"
#include "process.h"

static bool file_of(const struct oom_watch *watch, const char *name, char path[4096])
{
	return format_text(path, 4096, "%s/%s", watch->directory, name);
}

/* The number of kills in a counters' file; false if it cannot be read (the cgroup may be gone). */
static bool read_kills_of(const char *path, uint64_t *value)
{
	const char name[] = "oom_kill";
	size_t length = sizeof name - 1;
	char text[1024];
	if (read_text_file(path, text, sizeof text) < 0)
		return false;
	for (char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, length) == 0 && line[length] == ' ') {
			*value = strtoull(line + length + 1, NULL, 10);
			return true;
		}
	}
	return false;
}

static bool read_kills(const struct oom_watch *watch, uint64_t *value)
{
	char path[4096];
	return file_of(watch, watch->version2 ? "memory.events" : "memory.oom_control", path) &&
		read_kills_of(path, value);
}

/* Of version 2: a cgroup's counters hold those of all below it, also once they are gone. */
static bool read_parent_kills(const struct oom_watch *watch, uint64_t *value)
{
	char path[4096];
	const char *slash = strrchr(watch->directory, '/');
	return watch->version2 && slash &&
		format_text(path, sizeof path, "%.*s/memory.events", (int)(slash - watch->directory), watch->directory) &&
		read_kills_of(path, value);
}

static int register_version1(struct oom_watch *watch)
{
	char path[4096];
	char text[64];
	if (!file_of(watch, "memory.oom_control", path))
		return -1;
	int control = open(path, O_RDONLY | O_CLOEXEC);
	if (control < 0)
		return -1;
	watch->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int result = -1;
	if (watch->fd >= 0 && file_of(watch, "cgroup.event_control", path)) {
		format_text(text, sizeof text, "%d %d", watch->fd, control);
		result = write_text_file(path, text);
	}
	close(control);
	return result;
}

static int register_version2(struct oom_watch *watch)
{
	char path[4096];
	if (!file_of(watch, "memory.events", path))
		return -1;
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return watch->fd < 0 ? -1 : inotify_add_watch(watch->fd, path, IN_MODIFY) < 0 ? -1 : 0;
}

/* In a version 2 tree the memory controller has to be switched on from above. */
static void enable_memory(const char *directory)
{
	char path[4096];
	const char prefix[] = "/sys/fs/cgroup";
	size_t start = sizeof prefix - 1;
	if (strncmp(directory, prefix, start) != 0 || access("/sys/fs/cgroup/cgroup.controllers", F_OK) != 0)
		return;
	for (const char *slash = directory + start; slash && *slash; slash = strchr(slash + 1, '/')) {
		if (format_text(path, sizeof path, "%.*s/cgroup.subtree_control", (int)(slash - directory), directory))
			write_text_file(path, "+memory");
	}
}

int oom_open(struct oom_watch *watch, const char *directory)
{
	char path[4096];
	memset(watch, 0, sizeof *watch);
	watch->fd = -1;
	watch->directory = directory;
	if (!directory || directory[0] == '\0')
		return 0;
	if (make_directories(directory, &watch->made) < 0)
		return -1;
	enable_memory(directory);
	if (!file_of(watch, "memory.oom_control", path))
		return -1;
	watch->version2 = access(path, F_OK) != 0;
	if ((watch->version2 ? register_version2(watch) : register_version1(watch)) < 0)
		return -1;
	if (!read_kills(watch, &watch->kills_before))
		watch->kills_before = 0;
	if (!read_parent_kills(watch, &watch->parent_kills))
		watch->parent_kills = UINT64_MAX;
	return 0;
}

/* Takes what the descriptor has to say; whether it was more than the end of the cgroup. */
static bool drain(const struct oom_watch *watch)
{
	_Alignas(struct inotify_event) char data[4096];
	bool changed = false;
	ssize_t got;
	while ((got = read(watch->fd, data, sizeof data)) > 0) {
		const struct inotify_event *event;
		for (ssize_t at = 0; watch->version2 && at < got; at += (ssize_t)(sizeof *event + event->len)) {
			event = (const struct inotify_event *)(const void *)(data + at);
			changed = changed || (event->mask & IN_MODIFY) != 0;
		}
	}
	return changed;
}

/*
 * Version 1 tells before the kill, so the counter may still be behind; it also
 * tells when the cgroup is removed, but then the counter cannot be read at all.
 * Version 2 tells of every change of the file, so there the counter decides.
 */
bool oom_event(struct oom_watch *watch)
{
	uint64_t kills;
	uint64_t parent_kills = watch->parent_kills;
	if (drain(watch))
		watch->changed = true;
	/* The parent's first: a kill in between is seen in the cgroup's own. */
	read_parent_kills(watch, &parent_kills);
	if (!read_kills(watch, &kills))
		return false;
	watch->parent_kills = parent_kills;
	if (!watch->version2 || kills > watch->kills_before)
		watch->noticed = true;
	return watch->noticed;
}

/*
 * The cgroup is gone already and cannot be asked. Its own word may have been on its way still (the kernel holds such
 * words back for up to 10 ms): the parent's counter has it, and others' too.
 */
static bool killed_unseen(const struct oom_watch *watch, bool by_kill)
{
	uint64_t kills;
	return by_kill && watch->changed && read_parent_kills(watch, &kills) && kills > watch->parent_kills;
}

bool oom_killed(struct oom_watch *watch, bool by_kill)
{
	uint64_t kills;
	if (watch->fd < 0 || watch->killed)
		return watch->killed;
	if (watch->version2 && drain(watch))
		watch->changed = true;
	if (read_kills(watch, &kills))
		watch->killed = kills > watch->kills_before;
	else
		watch->killed = watch->noticed || killed_unseen(watch, by_kill);
	return watch->killed;
}

void oom_undo(struct oom_watch *watch)
{
	if (watch->made)
		rmdir(watch->directory);
	watch->made = false;
}
