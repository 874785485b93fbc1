#include "log_decode.h"

#include <string.h>

#include "log_line.h"

static const char opening[] = "{\"log\":\"";
static const char stdout_mark[] = "\",\"stream\":\"stdout\"";
static const char stderr_mark[] = "\",\"stream\":\"stderr\"";

static int hex_value(uint8_t digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

static size_t put_utf8(unsigned code, uint8_t *to)
{
	if (code < 0x80) {
		to[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		to[0] = (uint8_t)(0xc0 | (code >> 6));
		to[1] = (uint8_t)(0x80 | (code & 0x3f));
		return 2;
	}
	to[0] = (uint8_t)(0xe0 | (code >> 12));
	to[1] = (uint8_t)(0x80 | ((code >> 6) & 0x3f));
	to[2] = (uint8_t)(0x80 | (code & 0x3f));
	return 3;
}

static bool unescape_unicode(const uint8_t *digits, unsigned *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++) {
		int value = hex_value(digits[i]);
		if (value < 0)
			return false;
		*code = *code << 4 | (unsigned)value;
	}
	return true;
}

/* The escape at `from` (behind its backslash); returns the bytes it took, 0 if it is none. */
static size_t unescape(const uint8_t *from, size_t length, struct decoded *decoded)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	unsigned code;
	if (length == 0)
		return 0;
	if (from[0] == 'u') {
		if (length < 5 || !unescape_unicode(from + 1, &code))
			return 0;
		decoded->length += put_utf8(code, decoded->text + decoded->length);
		return 5;
	}
	const char *name = from[0] == '\0' ? NULL : strchr(names, from[0]);
	if (!name)
		return 0;
	decoded->text[decoded->length++] = (uint8_t)values[name - names];
	return 1;
}

static bool starts_with(const uint8_t *data, size_t length, const char *text)
{
	size_t size = strlen(text);
	return length >= size && memcmp(data, text, size) == 0;
}

bool log_decode(const uint8_t *line, size_t length, struct decoded *decoded)
{
	size_t at = sizeof opening - 1;
	decoded->length = 0;
	if (!starts_with(line, length, opening))
		return false;
	while (at < length && line[at] != '"') {
		if (decoded->length > DECODED_MAX - 4)
			return false;
		if (line[at] != '\\') {
			decoded->text[decoded->length++] = line[at++];
			continue;
		}
		size_t used = unescape(line + at + 1, length - at - 1, decoded);
		if (used == 0)
			return false;
		at += 1 + used;
	}
	if (starts_with(line + at, length - at, stdout_mark))
		decoded->stream = STREAM_STDOUT;
	else if (starts_with(line + at, length - at, stderr_mark))
		decoded->stream = STREAM_STDERR;
	else
		return false;
	return line[length - 1] == '}';
}
