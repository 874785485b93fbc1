#include "hold_table.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bytes.h"

/* The file of a bound unix socket, if it is there and has an absolute name. */
static void find_path(struct held *held)
{
	struct sockaddr_un address;
	socklen_t length = sizeof address;
	struct stat status;
	held->path[0] = '\0';
	memset(&address, 0, sizeof address);
	if (getsockname(held->fd, (struct sockaddr *)&address, &length) < 0 || address.sun_family != AF_UNIX)
		return;
	address.sun_path[sizeof address.sun_path - 1] = '\0';
	if (address.sun_path[0] != '/' || lstat(address.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return;
	held->device = status.st_dev;
	held->inode = status.st_ino;
	memcpy(held->path, address.sun_path, sizeof held->path);
}

static void unlink_own(const struct held *held)
{
	struct stat status;
	if (held->path[0] == '\0' || lstat(held->path, &status) < 0)
		return;
	if (S_ISSOCK(status.st_mode) && status.st_dev == held->device && status.st_ino == held->inode)
		unlink(held->path);
}

static void remove_at(struct hold_table *table, size_t index)
{
	close(table->held[index].fd);
	table->count--;
	if (index != table->count)
		table->held[index] = table->held[table->count];
}

bool held_put(struct hold_table *table, int fd, uint8_t class, const char *name)
{
	held_drop(table, name, false);
	if (table->count == HELD_MAX)
		return false;
	struct held *held = &table->held[table->count++];
	held->fd = fd;
	held->class = class;
	format_text(held->name, sizeof held->name, "%s", name);
	find_path(held);
	return true;
}

const struct held *held_find(const struct hold_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->held[i].name, name) == 0)
			return &table->held[i];
	return NULL;
}

size_t held_drop(struct hold_table *table, const char *name, bool prefix)
{
	size_t length = strlen(name) + (prefix ? 0 : 1);
	size_t dropped = 0;
	for (size_t i = table->count; i-- > 0;) {
		if (strncmp(table->held[i].name, name, length) != 0)
			continue;
		remove_at(table, i);
		dropped++;
	}
	return dropped;
}

void held_end_class(struct hold_table *table, uint8_t class)
{
	for (size_t i = table->count; i-- > 0;) {
		if (table->held[i].class != class)
			continue;
		unlink_own(&table->held[i]);
		remove_at(table, i);
	}
}

bool held_has_class(const struct hold_table *table, uint8_t class)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->held[i].class == class)
			return true;
	return false;
}
