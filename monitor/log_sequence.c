#include "log_sequence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "log_file.h"

static uint64_t read_sidecar(const char *path)
{
	char name[LOG_PATH_MAX];
	char text[24];
	uint64_t sequence;
	if (!format_text(name, sizeof name, "%s.seq", path) || read_text_file(name, text, sizeof text) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return parse_number(text, INT64_MAX, &sequence) ? sequence : 0;
}

/* The highest number of a rotated file beside the log; 0 if there is none. */
static uint64_t highest_rotated(const char *path)
{
	char directory[LOG_PATH_MAX];
	const char *slash = strrchr(path, '/');
	if (!slash || !format_text(directory, sizeof directory, "%.*s", (int)(slash - path + 1), path))
		return 0;
	const char *base = slash + 1;
	size_t base_length = strlen(base);
	uint64_t highest = 0;
	DIR *stream = opendir(directory);
	if (!stream)
		return 0;
	for (struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
		char digits[24];
		uint64_t number;
		if (strncmp(entry->d_name, base, base_length) != 0 || entry->d_name[base_length] != '.')
			continue;
		if (!format_text(digits, sizeof digits, "%s", entry->d_name + base_length + 1))
			continue;
		digits[strcspn(digits, ".")] = '\0';
		if (parse_number(digits, INT64_MAX, &number) && number > highest)
			highest = number;
	}
	closedir(stream);
	return highest;
}

uint64_t log_sequence_find(const char *path)
{
	uint64_t recorded = read_sidecar(path);
	uint64_t rotated = highest_rotated(path);
	if (recorded > rotated)
		return recorded;
	return rotated + 1;
}

int log_sequence_write(const char *path, uint64_t sequence)
{
	char name[LOG_PATH_MAX];
	char temporary[LOG_PATH_MAX];
	char text[32];
	if (!format_text(name, sizeof name, "%s.seq", path) ||
		!format_text(temporary, sizeof temporary, "%s.seq.tmp", path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	format_text(text, sizeof text, "%" PRIu64 "\n", sequence);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -1;
	close(fd);
	if (write_text_file(temporary, text) == 0 && rename(temporary, name) == 0)
		return 0;
	int failure = errno;
	unlink(temporary);
	errno = failure;
	return -1;
}

void log_sequence_prune(const char *path, uint64_t newest)
{
	char name[LOG_PATH_MAX];
	for (uint64_t number = newest; number > 0; number--) {
		bool removed = false;
		if (format_text(name, sizeof name, "%s.%" PRIu64, path, number) && unlink(name) == 0)
			removed = true;
		if (format_text(name, sizeof name, "%s.%" PRIu64 ".gz", path, number) && unlink(name) == 0)
			removed = true;
		if (!removed)
			return;
	}
}
