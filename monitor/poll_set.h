/* What one turn of the loop waits for; made anew each turn from the state, so that nothing can be left over. */
#ifndef BERTH_POLL_SET_H
#define BERTH_POLL_SET_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#define POLL_SET_MAX 320

enum poll_kind {
	POLL_SIGNALS,
	POLL_LISTENER,
	POLL_CHANNEL,
	POLL_CONSOLE,
	POLL_INPUT,
	POLL_OUTPUT,
	POLL_CLIENT,
	POLL_WAITER,
	POLL_OOM
};

struct poll_set {
	size_t count;
	struct pollfd fds[POLL_SET_MAX];
	struct {
		enum poll_kind kind;
		size_t index;
	} who[POLL_SET_MAX];
};

static inline void poll_add(struct poll_set *set, int fd, short events, enum poll_kind kind, size_t index)
{
	if (fd < 0 || set->count == POLL_SET_MAX)
		return;
	set->fds[set->count] = (struct pollfd){ .fd = fd, .events = events };
	set->who[set->count].kind = kind;
	set->who[set->count].index = index;
	set->count++;
}

#endif
