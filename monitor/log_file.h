/*
 * The log file: json-file's lines, rotated by size, numbered so that a cursor
 * (sequence, offset) survives rotation.
 *
 * <path> is the current file; <path>.seq holds its number; a rotated file is
 * <path>.<number>. The rename comes before the new number is written, so a
 * number whose rotated file exists is known to be behind by one.
 */
#ifndef BERTH_LOG_FILE_H
#define BERTH_LOG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "log_line.h"
#include "spec.h"

#define LOG_PATH_MAX 4096
/* Daemons are told each time the current file has grown by so much. */
#define LOG_STEP 1048576

struct log {
	/* -1 where the log driver is none. */
	int fd;
	const char *path;
	const char *attrs;
	uint64_t sequence;
	/* Bytes in the current file; what is buffered comes on top. */
	uint64_t size;
	uint64_t max_size;
	uint64_t max_file;
	/* Lines that could not be written since the last marker, and why. */
	uint64_t lost;
	int lost_reason;
	/* Set by a rotation, cleared by who announces it. */
	bool rotated;
	/* The size that daemons were told last. */
	uint64_t told;
	size_t buffered;
	size_t suffix_length[STREAM_COUNT];
	struct line_part part[STREAM_COUNT];
};

/* Opens or makes the file and finds its number. NULL, or what failed (valid until the next call). */
const char *log_open(struct log *log, const struct spec *spec);

/* Takes a batch of one stream's output; everything whole is written when it returns. */
void log_feed(struct log *log, enum stream stream, const uint8_t *data, size_t length);

/* The stream has ended: writes what has no newline. */
void log_end(struct log *log, enum stream stream);

/*
 * 0, or -1 and errno; the file then goes on under its number. With `keep` the rotated file stays until the next
 * rotation even where only the current one is to be kept.
 */
int log_rotate(struct log *log, bool keep);

/* Whether daemons are to be told the size: once for each step. */
bool log_has_grown(struct log *log);

/* Writes the marker for lines lost so far, if there is room again. */
void log_close(struct log *log);

static inline bool log_is_on(const struct log *log)
{
	return log->fd >= 0;
}

#endif
