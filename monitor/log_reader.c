#include "log_reader.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "log_decode.h"

#define SHORT_READ 32768
/* The longest line: every byte escaped, and the attributes. */
#define LONG_READ (ENCODED_TEXT_MAX + SPEC_ATTRS_MAX + 256)

/* One window for all readers: it is filled again whenever another one reads. */
static uint8_t window[LONG_READ];
static size_t window_length;
static size_t window_used;
static const struct log_reader *window_owner;
static struct decoded decoded;

void log_reader_start(struct log_reader *reader, uint64_t sequence, uint64_t offset)
{
	reader->fd = -1;
	reader->sequence = sequence;
	reader->offset = offset;
	memset(reader->skip, 0, sizeof reader->skip);
	if (window_owner == reader)
		window_owner = NULL;
}

void log_reader_start_here(struct log_reader *reader, const struct log *log)
{
	log_reader_start(reader, log->sequence, log->size);
	reader->fd = fcntl(log->fd, F_DUPFD_CLOEXEC, 0);
}

void log_reader_close(struct log_reader *reader)
{
	if (reader->fd >= 0)
		close(reader->fd);
	reader->fd = -1;
	if (window_owner == reader)
		window_owner = NULL;
}

static bool open_file(struct log_reader *reader, const struct log *log)
{
	char name[LOG_PATH_MAX];
	if (reader->fd >= 0)
		return true;
	if (reader->sequence > log->sequence)
		return false;
	if (reader->sequence == log->sequence)
		format_text(name, sizeof name, "%s", log->path);
	else
		format_text(name, sizeof name, "%s.%" PRIu64, log->path, reader->sequence);
	reader->fd = open(name, O_RDONLY | O_CLOEXEC);
	return reader->fd >= 0;
}

static uint64_t file_size(const struct log_reader *reader, const struct log *log)
{
	struct stat status;
	if (reader->sequence == log->sequence)
		return log->size;
	return fstat(reader->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* Fills the window from the reader's offset; false where no more whole line is in the file. */
static bool fill(struct log_reader *reader, uint64_t limit)
{
	for (size_t want = SHORT_READ;; want = LONG_READ) {
		size_t left = limit - reader->offset < want ? (size_t)(limit - reader->offset) : want;
		ssize_t got = pread(reader->fd, window, left, (off_t)reader->offset);
		window_owner = reader;
		window_used = 0;
		window_length = got > 0 ? (size_t)got : 0;
		if (memchr(window, '\n', window_length))
			return true;
		if (got <= 0 || want == LONG_READ || left < want)
			return false;
	}
}

/* The next whole line in the window; NULL if there is none. */
static const uint8_t *window_line(size_t *length)
{
	const uint8_t *start = window + window_used;
	const uint8_t *end = memchr(start, '\n', window_length - window_used);
	if (!end)
		return NULL;
	*length = (size_t)(end - start);
	return start;
}

/* Moves on in the chain of files; READ_LINE means: there is a line in the window. */
static enum read_result advance(struct log_reader *reader, const struct log *log)
{
	size_t length;
	if (window_owner == reader && window_line(&length))
		return READ_LINE;
	for (;;) {
		if (!open_file(reader, log))
			return READ_LOST;
		uint64_t limit = file_size(reader, log);
		if (reader->offset < limit && fill(reader, limit))
			return READ_LINE;
		if (reader->sequence == log->sequence) {
			if (reader->offset > limit)
				return READ_LOST;
			return READ_AT_END;
		}
		log_reader_close(reader);
		reader->sequence++;
		reader->offset = 0;
	}
}

enum read_result log_reader_next(struct log_reader *reader, const struct log *log, struct log_text *text)
{
	for (;;) {
		size_t length = 0;
		enum read_result result = advance(reader, log);
		if (result != READ_LINE)
			return result;
		const uint8_t *line = window_line(&length);
		window_used += length + 1;
		reader->offset += length + 1;
		if (length == 0 || !log_decode(line, length, &decoded))
			continue;
		size_t *skip = &reader->skip[decoded.stream];
		if (*skip >= decoded.length) {
			*skip -= decoded.length;
			continue;
		}
		text->stream = (enum stream)decoded.stream;
		text->text = decoded.text + *skip;
		text->length = decoded.length - *skip;
		*skip = 0;
		return READ_LINE;
	}
}
