#include "waiters.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

bool waiters_add(struct waiters *waiters, int fd, enum wait_condition condition)
{
	if (waiters->count == WAITERS_MAX)
		return false;
	waiters->list[waiters->count].fd = fd;
	waiters->list[waiters->count].condition = condition;
	waiters->count++;
	return true;
}

static void remove_at(struct waiters *waiters, size_t index)
{
	close(waiters->list[index].fd);
	waiters->list[index] = waiters->list[--waiters->count];
}

void waiters_answer(struct waiters *waiters, enum wait_condition condition, int code)
{
	char text[64];
	format_text(text, sizeof text, "{\"StatusCode\":%d}\n", code);
	for (size_t i = waiters->count; i-- > 0;) {
		int fd = waiters->list[i].fd;
		if (waiters->list[i].condition != condition)
			continue;
		/* A line fits into any socket's empty buffer; a peer that is gone needs no answer. */
		if (send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			shutdown(fd, SHUT_WR);
		remove_at(waiters, i);
	}
}

void waiters_poll(const struct waiters *waiters, struct poll_set *set)
{
	for (size_t i = 0; i < waiters->count; i++)
		poll_add(set, waiters->list[i].fd, POLLRDHUP, POLL_WAITER, (size_t)waiters->list[i].fd);
}

void waiters_event(struct waiters *waiters, int fd)
{
	for (size_t i = 0; i < waiters->count; i++) {
		if (waiters->list[i].fd != fd)
			continue;
		remove_at(waiters, i);
		return;
	}
}
