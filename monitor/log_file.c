#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "log_sequence.h"

/* Written once this much is gathered; one more line always fits behind it. */
#define FLUSH_AT 65536
#define SUFFIX_MAX (SPEC_ATTRS_MAX + 128)
#define LINE_OVERHEAD (16 + SUFFIX_MAX)

static const char opening[] = "{\"log\":\"";
static uint8_t buffer[FLUSH_AT + ENCODED_TEXT_MAX + LINE_OVERHEAD];
static char suffixes[STREAM_COUNT][SUFFIX_MAX];
static char failure_text[LOG_PATH_MAX + 128];

static const char *failed(const char *what, const char *path)
{
	format_text(failure_text, sizeof failure_text, "%s %s: %s", what, path, strerror(errno));
	return failure_text;
}

static int open_current(struct log *log)
{
	struct stat status;
	int fd = open(log->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0)
		return -1;
	if (fstat(fd, &status) < 0) {
		close(fd);
		return -1;
	}
	log->fd = fd;
	log->size = (uint64_t)status.st_size;
	return 0;
}

/* A line that a death or a power cut left unfinished is ended here, so that it spoils no other. */
static void end_torn_line(struct log *log)
{
	char last;
	if (log->size == 0 || pread(log->fd, &last, 1, (off_t)log->size - 1) != 1 || last == '\n')
		return;
	if (write(log->fd, "\n", 1) == 1)
		log->size++;
}

const char *log_open(struct log *log, const struct spec *spec)
{
	memset(log, 0, offsetof(struct log, part));
	log->fd = -1;
	if (!spec->log_path || spec->log_path[0] == '\0')
		return NULL;
	log->path = spec->log_path;
	log->attrs = spec->log_attrs ? spec->log_attrs : "";
	log->max_size = spec->log_max_size;
	log->max_file = spec->log_max_file;
	log->sequence = log_sequence_find(log->path);
	if (strlen(log->path) > LOG_PATH_MAX - 32) {
		errno = ENAMETOOLONG;
		return failed("cannot open the log", log->path);
	}
	if (open_current(log) < 0)
		return failed("cannot open the log", log->path);
	if (log_sequence_write(log->path, log->sequence) < 0 && errno != ENOSPC && errno != EDQUOT)
		return failed("cannot write the number of the log", log->path);
	end_torn_line(log);
	log->told = log->size;
	return NULL;
}

static uint64_t count_lines(const uint8_t *data, size_t length)
{
	uint64_t lines = 0;
	for (size_t i = 0; i < length; i++)
		lines += data[i] == '\n';
	return lines;
}

/* Writes all of it or up to the last whole line, cutting off the rest; returns the bytes kept. */
static size_t write_lines(struct log *log, const uint8_t *data, size_t length)
{
	size_t done = 0;
	while (done < length) {
		ssize_t written = write(log->fd, data + done, length - done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0) {
			log->lost_reason = written < 0 ? errno : ENOSPC;
			break;
		}
		done += (size_t)written;
	}
	size_t kept = done;
	if (done < length)
		while (kept > 0 && data[kept - 1] != '\n')
			kept--;
	if (kept < done && ftruncate(log->fd, (off_t)(log->size + kept)) < 0) {
		/* The torn line stays; readers skip it, and it is ended by the next line's newline. */
		kept = done;
	}
	log->size += kept;
	return kept;
}

static size_t format_marker(const struct log *log, char *to, size_t size)
{
	char time[CLOCK_TEXT_MAX];
	clock_format(clock_wall_ns(), time);
	const char *reason = log->lost_reason == ENOSPC ? "no space left on device" : strerror(log->lost_reason);
	format_text(to, size, "{\"log\":\"[berth] %" PRIu64 " lines lost: %s\\n\",\"stream\":\"stderr\",\"time\":\"%s\"}\n",
		log->lost, reason, time);
	return strlen(to);
}

static void lose(struct log *log, const uint8_t *data, size_t length)
{
	log->lost += count_lines(data, length);
}

/* Someone may have emptied the file under us; what is appended goes to its real end. */
static void find_end(struct log *log)
{
	struct stat status;
	if (fstat(log->fd, &status) == 0 && (uint64_t)status.st_size < log->size)
		log->size = (uint64_t)status.st_size;
}

/* While lines are lost, the marker goes in front of the next batch: both, or neither. */
static void flush(struct log *log)
{
	char marker[256];
	if (log->buffered == 0)
		return;
	find_end(log);
	uint64_t before = log->size;
	if (log->lost > 0) {
		size_t length = format_marker(log, marker, sizeof marker);
		if (write_lines(log, (const uint8_t *)marker, length) < length) {
			lose(log, buffer, log->buffered);
			log->buffered = 0;
			return;
		}
	}
	size_t kept = write_lines(log, buffer, log->buffered);
	if (kept == 0 && log->lost > 0 && ftruncate(log->fd, (off_t)before) == 0)
		log->size = before;
	else
		log->lost = 0;
	if (kept < log->buffered)
		lose(log, buffer + kept, log->buffered - kept);
	log->buffered = 0;
}

int log_rotate(struct log *log, bool keep)
{
	char rotated[LOG_PATH_MAX];
	int old = log->fd;
	flush(log);
	uint64_t size = log->size;
	if (!format_text(rotated, sizeof rotated, "%s.%" PRIu64, log->path, log->sequence)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (rename(log->path, rotated) < 0)
		return -1;
	/* Old files go first: on a full disk this makes the room that the new number needs. */
	if (log->sequence + 1 > log->max_file)
		log_sequence_prune(log->path, log->max_file > 1 ? log->sequence + 1 - log->max_file : log->sequence - 1);
	if (log_sequence_write(log->path, log->sequence + 1) < 0 || open_current(log) < 0) {
		int failure = errno;
		log->fd = old;
		log->size = size;
		rename(rotated, log->path);
		log_sequence_write(log->path, log->sequence);
		errno = failure;
		return -1;
	}
	close(old);
	log->sequence++;
	log->rotated = true;
	log->told = log->size;
	if (log->max_file <= 1 && !keep)
		unlink(rotated);
	return 0;
}

bool log_has_grown(struct log *log)
{
	/* Someone may have emptied it. */
	if (log->told > log->size)
		log->told = log->size;
	if (log->size - log->told < LOG_STEP)
		return false;
	log->told = log->size;
	return true;
}

static void stamp(struct log *log, enum stream stream)
{
	char time[CLOCK_TEXT_MAX];
	clock_format(clock_wall_ns(), time);
	bool attrs = log->attrs[0] != '\0';
	format_text(suffixes[stream], SUFFIX_MAX, "\",\"stream\":\"%s\"%s%s,\"time\":\"%s\"}\n",
		stream == STREAM_STDOUT ? "stdout" : "stderr", attrs ? ",\"attrs\":" : "", log->attrs, time);
	log->suffix_length[stream] = strlen(suffixes[stream]);
}

static void append(struct log *log, enum stream stream, const struct line *line)
{
	if (log->max_size > 0 && log->size + log->buffered >= log->max_size) {
		flush(log);
		/* A rotation that fails costs nothing but a longer file; the next line tries again. */
		if (log->size >= log->max_size)
			log_rotate(log, false);
	}
	uint8_t *at = buffer + log->buffered;
	memcpy(at, opening, sizeof opening - 1);
	at += sizeof opening - 1;
	at += line_escape(line->text, line->length, at);
	if (line->newline) {
		memcpy(at, "\\n", 2);
		at += 2;
	}
	memcpy(at, suffixes[stream], log->suffix_length[stream]);
	at += log->suffix_length[stream];
	log->buffered = (size_t)(at - buffer);
	if (log->buffered >= FLUSH_AT)
		flush(log);
}

void log_feed(struct log *log, enum stream stream, const uint8_t *data, size_t length)
{
	struct line line;
	size_t used = 0;
	if (!log_is_on(log))
		return;
	stamp(log, stream);
	while (line_next(&log->part[stream], data, length, &used, &line))
		append(log, stream, &line);
	flush(log);
}

void log_end(struct log *log, enum stream stream)
{
	struct line line;
	if (!log_is_on(log) || !line_last(&log->part[stream], &line))
		return;
	stamp(log, stream);
	append(log, stream, &line);
	flush(log);
}

void log_close(struct log *log)
{
	char marker[256];
	if (!log_is_on(log))
		return;
	if (log->lost > 0) {
		size_t length = format_marker(log, marker, sizeof marker);
		if (write_lines(log, (const uint8_t *)marker, length) == length)
			log->lost = 0;
	}
}
