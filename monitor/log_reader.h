/* A position in the log from which a slow client is served. */
#ifndef BERTH_LOG_READER_H
#define BERTH_LOG_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log_file.h"

struct log_reader {
	int fd;
	uint64_t sequence;
	uint64_t offset;
	/* Bytes of each stream's next line that the client already has. */
	size_t skip[STREAM_COUNT];
};

enum read_result { READ_LINE, READ_AT_END, READ_LOST };

/* The next line's text, less what is to be skipped; valid until the next call. The line is consumed. */
struct log_text {
	enum stream stream;
	const uint8_t *text;
	size_t length;
};

void log_reader_start(struct log_reader *reader, uint64_t sequence, uint64_t offset);

/*
 * At the log's end. It holds the file open from now on: once rotated, that one may be shortened at its beginning,
 * by another file in its place.
 */
void log_reader_start_here(struct log_reader *reader, const struct log *log);
enum read_result log_reader_next(struct log_reader *reader, const struct log *log, struct log_text *text);
void log_reader_close(struct log_reader *reader);

#endif
