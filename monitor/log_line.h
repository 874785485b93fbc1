/*
 * Output cut into lines and encoded as json-file's objects. Pure: bytes in, bytes
 * into the caller's buffer; log_file.c writes them.
 */
#ifndef BERTH_LOG_LINE_H
#define BERTH_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A longer line is logged in parts of this many bytes, all but the last without newline. */
#define LINE_MAX_BYTES 16384
/* An escape is at most six bytes for one. */
#define ENCODED_TEXT_MAX (LINE_MAX_BYTES * 6 + 16)

enum stream { STREAM_STDOUT = 0, STREAM_STDERR = 1, STREAM_COUNT = 2 };

/* The end of a stream that has no newline yet. */
struct line_part {
	size_t length;
	/* The beginning of a character at the end of the text, that the line just given left out. */
	size_t carried;
	uint8_t text[LINE_MAX_BYTES];
};

/* One line, or a part of one, ready to be encoded. */
struct line {
	const uint8_t *text;
	size_t length;
	bool newline;
};

/*
 * Takes the next line from `data`, moving `*used` on. False when the rest has no
 * newline; the rest is then kept in the part. The line points into data or the part.
 */
bool line_next(struct line_part *part, const uint8_t *data, size_t length, size_t *used, struct line *line);

/* What is left at the end of the stream; false if nothing is. */
bool line_last(struct line_part *part, struct line *line);

/* Encodes text as the inside of a JSON string, as Go's encoder does with HTML escapes; returns the length. */
size_t line_escape(const uint8_t *text, size_t length, uint8_t *to);

/* Length of the valid UTF-8 character at `text`, 0 if there is none (cut short counts as none). */
size_t utf8_length(const uint8_t *text, size_t length);

/* True if part + data has bytes that the log cannot give back: a character cut at the end is not held against it. */
bool line_is_lossy(const struct line_part *part, const uint8_t *data, size_t length);

/* The same for a stream that ends here: a character cut short stays so. */
bool line_ends_lossy(const struct line_part *part);

#endif
