/* The held descriptors by name. */
#ifndef BERTH_HOLD_TABLE_H
#define BERTH_HOLD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HELD_MAX 16384
#define HELD_NAME_MAX 255
#define HELD_PATH_MAX 108

enum held_class { HELD_API = 1, HELD_PORT = 2, HELD_DNS = 3 };

struct held {
	int fd;
	uint8_t class;
	/* Of a unix socket: which file it is, so that only this one is ever unlinked. */
	dev_t device;
	ino_t inode;
	char name[HELD_NAME_MAX + 1];
	char path[HELD_PATH_MAX];
};

struct hold_table {
	size_t count;
	struct held held[HELD_MAX];
};

/* Owns the descriptor from now on and closes one of the same name. False where the table is full. */
bool held_put(struct hold_table *table, int fd, uint8_t class, const char *name);
const struct held *held_find(const struct hold_table *table, const char *name);
/* How many there were of that name, or beginning so. */
size_t held_drop(struct hold_table *table, const char *name, bool prefix);
/* Closes those of the class and unlinks their sockets, unless another has taken the path. */
void held_end_class(struct hold_table *table, uint8_t class);
bool held_has_class(const struct hold_table *table, uint8_t class);

#endif
