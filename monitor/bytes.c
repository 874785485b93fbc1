#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void put_u16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

void put_u32(uint8_t *at, uint32_t value)
{
	put_u16(at, (uint16_t)value);
	put_u16(at + 2, (uint16_t)(value >> 16));
}

void put_u64(uint8_t *at, uint64_t value)
{
	put_u32(at, (uint32_t)value);
	put_u32(at + 4, (uint32_t)(value >> 32));
}

uint16_t get_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] | (at[1] << 8));
}

uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)get_u16(at) | ((uint32_t)get_u16(at + 2) << 16);
}

uint64_t get_u64(const uint8_t *at)
{
	return (uint64_t)get_u32(at) | ((uint64_t)get_u32(at + 4) << 32);
}

uint32_t crc32_of(const uint8_t *data, size_t length)
{
	uint32_t crc = 0xffffffffu;
	for (size_t i = 0; i < length; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1u) ? 0xedb88320u : 0u);
	}
	return ~crc;
}

bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t sum = 0;
	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		uint64_t digit = (uint64_t)(*text - '0');
		if (digit > max || sum > (max - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

bool format_text(char *to, size_t size, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(to, size, format, arguments);
	va_end(arguments);
	return length >= 0 && (size_t)length < size;
}

int write_text_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size_t length = strlen(text);
	ssize_t written = write(fd, text, length);
	int failure = written < 0 ? errno : EIO;
	close(fd);
	if (written == (ssize_t)length)
		return 0;
	errno = failure;
	return -1;
}

long read_text_file(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t length = read(fd, to, size - 1);
	int failure = errno;
	close(fd);
	errno = failure;
	if (length < 0)
		return -1;
	to[length] = '\0';
	return length;
}
