#include "exit_record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"

/* File: magic, valid flag, checksum of the payload, its length, the payload. */
#define MAGIC "BERTHEX1"
#define FLAG_AT 8
#define HEAD 20
#define FILE_SIZE 12288

int exit_record_reserve(int directory)
{
	int fd = openat(directory, "exit", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int failure = posix_fallocate(fd, 0, FILE_SIZE);
	if (failure == 0)
		return fd;
	close(fd);
	errno = failure;
	return -1;
}

size_t exit_record_encode(const struct exit_record *record, uint8_t to[EXIT_PAYLOAD_MAX])
{
	size_t error_length = strnlen(record->error, EXIT_ERROR_MAX);
	put_u32(to, (uint32_t)record->phase);
	put_u32(to + 4, (uint32_t)record->pid);
	put_u32(to + 8, (uint32_t)record->code);
	put_u32(to + 12, record->oom_killed ? 1 : 0);
	put_u64(to + 16, record->started_at);
	put_u64(to + 24, record->finished_at);
	put_u32(to + 32, (uint32_t)error_length);
	put_u32(to + 36, 0);
	memcpy(to + EXIT_FIXED, record->error, error_length);
	return EXIT_FIXED + error_length;
}

static int write_at(int fd, const uint8_t *data, size_t length, off_t offset)
{
	ssize_t written = pwrite(fd, data, length, offset);
	if (written == (ssize_t)length)
		return 0;
	if (written >= 0)
		errno = EIO;
	return -1;
}

int exit_record_write(int fd, const uint8_t *payload, size_t length)
{
	uint8_t head[HEAD] = { 0 };
	const uint8_t valid[4] = { 1, 0, 0, 0 };
	memcpy(head, MAGIC, FLAG_AT);
	put_u32(head + 12, crc32_of(payload, length));
	put_u32(head + 16, (uint32_t)length);
	if (write_at(fd, payload, length, HEAD) < 0 || write_at(fd, head, sizeof head, 0) < 0)
		return -1;
	return write_at(fd, valid, sizeof valid, FLAG_AT);
}
