/* Open /wait requests: connections whose response headers are written, answered with the status and closed. */
#ifndef BERTH_WAITERS_H
#define BERTH_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poll_set.h"

#define WAITERS_MAX 128

enum wait_condition { WAIT_EXIT = 0, WAIT_REMOVED = 1 };

struct waiters {
	size_t count;
	struct {
		int fd;
		enum wait_condition condition;
	} list[WAITERS_MAX];
};

/* Owns the descriptor from now on; false (and not owned) where the list is full. */
bool waiters_add(struct waiters *waiters, int fd, enum wait_condition condition);

/* Writes the status to those of this condition and closes them. */
void waiters_answer(struct waiters *waiters, enum wait_condition condition, int code);

void waiters_poll(const struct waiters *waiters, struct poll_set *set);

/* The peers that hung up, by their places in the last poll set. */
void waiters_event(struct waiters *waiters, int fd);

#endif
