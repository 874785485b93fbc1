#include "log_line.h"

#include <string.h>

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

static uint64_t load_word(const uint8_t *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof word);
	return word;
}

static uint64_t zero_bytes(uint64_t word)
{
	return (word - ONES) & ~word & HIGHS;
}

/* Nonzero if any of eight bytes is a control, a quote, a backslash, <, >, & or not ASCII. */
static uint64_t needs_escape(uint64_t word)
{
	uint64_t controls = (word - ONES * 0x20) & ~word & HIGHS;
	/* '<' and '>' differ in one bit, as do '"' and '&' in another: one comparison for each pair. */
	uint64_t angles = zero_bytes((word | ONES * 0x02) ^ (ONES * '>'));
	uint64_t quote_amp = zero_bytes((word | ONES * 0x04) ^ (ONES * '&'));
	uint64_t backslash = zero_bytes(word ^ (ONES * '\\'));
	return controls | angles | quote_amp | backslash | (word & HIGHS);
}

size_t utf8_length(const uint8_t *text, size_t length)
{
	uint8_t first = text[0];
	if (first < 0x80)
		return 1;
	size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4 || size > length)
		return 0;
	uint8_t low = 0x80;
	uint8_t high = 0xbf;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if (text[i] < 0x80 || text[i] > 0xbf)
			return 0;
	return size;
}

static size_t escape_unicode(const char *digits, uint8_t *to)
{
	memcpy(to, "\\u", 2);
	memcpy(to + 2, digits, 4);
	return 6;
}

static size_t escape_ascii(uint8_t byte, uint8_t *to)
{
	static const char hex[] = "0123456789abcdef";
	char digits[4] = { '0', '0', hex[byte >> 4], hex[byte & 15] };
	if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != '<' && byte != '>' && byte != '&') {
		to[0] = byte;
		return 1;
	}
	to[0] = '\\';
	if (byte == '"' || byte == '\\')
		to[1] = byte;
	else if (byte == '\n')
		to[1] = 'n';
	else if (byte == '\r')
		to[1] = 'r';
	else
		return escape_unicode(digits, to);
	return 2;
}

/* One character that is not plain; `*used` tells how many bytes it took. */
static size_t escape_one(const uint8_t *text, size_t length, uint8_t *to, size_t *used)
{
	size_t size = utf8_length(text, length);
	*used = size == 0 ? 1 : size;
	if (size == 1)
		return escape_ascii(text[0], to);
	if (size == 0)
		return escape_unicode("fffd", to);
	if (size == 3 && text[0] == 0xe2 && text[1] == 0x80 && (text[2] & 0xfe) == 0xa8)
		return escape_unicode(text[2] == 0xa8 ? "2028" : "2029", to);
	memcpy(to, text, size);
	return size;
}

size_t line_escape(const uint8_t *text, size_t length, uint8_t *to)
{
	uint8_t *start = to;
	size_t at = 0;
	while (at < length) {
		while (length - at >= 8) {
			uint64_t word = load_word(text + at);
			if (needs_escape(word))
				break;
			memcpy(to, &word, sizeof word);
			to += 8;
			at += 8;
		}
		/* Up to the next word, byte by byte: past what stopped the fast path. */
		for (int i = 0; i < 8 && at < length; i++) {
			size_t used;
			to += escape_one(text + at, length - at, to, &used);
			at += used;
		}
	}
	return (size_t)(to - start);
}

/* Where to cut a full part, so that no character is torn: at most three bytes before the end. */
static size_t cut_of(const uint8_t *text, size_t length)
{
	for (size_t back = 1; back <= 3 && back < length; back++) {
		uint8_t byte = text[length - back];
		if (byte < 0x80)
			break;
		if (byte >= 0xc0) {
			size_t size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
			return size > back ? length - back : length;
		}
	}
	return length;
}

/* Brings what the last line left out to the front; the line that points into the text is done with by now. */
static void settle(struct line_part *part)
{
	if (part->carried == 0)
		return;
	memmove(part->text, part->text + LINE_MAX_BYTES - part->carried, part->carried);
	part->length = part->carried;
	part->carried = 0;
}

/* Ends the part with `body` more bytes: at a newline, or because it is full. */
static void give_part(struct line_part *part, const uint8_t *from, size_t body, struct line *line)
{
	memcpy(part->text + part->length, from, body);
	size_t whole = part->length + body;
	size_t cut = line->newline ? whole : cut_of(part->text, whole);
	part->carried = whole - cut;
	part->length = 0;
	line->text = part->text;
	line->length = cut;
}

bool line_next(struct line_part *part, const uint8_t *data, size_t length, size_t *used, struct line *line)
{
	settle(part);
	const uint8_t *from = data + *used;
	size_t left = length - *used;
	if (left == 0)
		return false;
	size_t room = LINE_MAX_BYTES - part->length;
	size_t window = left < room ? left : room;
	const uint8_t *end = memchr(from, '\n', window);
	size_t body = end ? (size_t)(end - from) : window;
	if (!end && body < room) {
		memcpy(part->text + part->length, from, body);
		part->length += body;
		*used += body;
		return false;
	}
	line->newline = end != NULL;
	if (part->length == 0) {
		body = end ? body : cut_of(from, body);
		line->text = from;
		line->length = body;
	} else
		give_part(part, from, body, line);
	*used += body + (end ? 1 : 0);
	return true;
}

bool line_last(struct line_part *part, struct line *line)
{
	settle(part);
	if (part->length == 0)
		return false;
	line->text = part->text;
	line->length = part->length;
	line->newline = false;
	part->length = 0;
	return true;
}

/* A sequence that only lacks its end: its bytes so far could be a character's. */
static bool is_cut_short(const uint8_t *text, size_t length)
{
	uint8_t whole[4];
	if (length >= 4)
		return false;
	/* Every valid first and second byte can go on with one of these. */
	memset(whole, 0x80, sizeof whole);
	memcpy(whole, text, length);
	if (utf8_length(whole, sizeof whole) > length)
		return true;
	if (length != 1)
		return false;
	whole[1] = 0xa0;
	if (utf8_length(whole, sizeof whole) > 1)
		return true;
	return false;
}

static bool is_valid(const uint8_t *text, size_t length, size_t *rest)
{
	size_t at = 0;
	while (at < length) {
		if (length - at >= 8 && (load_word(text + at) & HIGHS) == 0) {
			at += 8;
			continue;
		}
		size_t size = utf8_length(text + at, length - at);
		if (size == 0) {
			*rest = length - at;
			return is_cut_short(text + at, length - at);
		}
		at += size;
	}
	*rest = 0;
	return true;
}

bool line_is_lossy(const struct line_part *part, const uint8_t *data, size_t length)
{
	size_t rest;
	if (!is_valid(part->text, part->length, &rest))
		return true;
	/* A character begun in the part and ended in the data is checked in a small window of both. */
	uint8_t seam[8];
	size_t taken = length < sizeof seam - rest ? length : sizeof seam - rest;
	memcpy(seam, part->text + part->length - rest, rest);
	memcpy(seam + rest, data, taken);
	size_t from = 0;
	if (rest > 0 && taken > 0) {
		size_t size = utf8_length(seam, rest + taken);
		if (size == 0)
			return !is_cut_short(seam, rest + taken);
		from = size - rest;
	}
	return !is_valid(data + from, length - from, &rest);
}

bool line_ends_lossy(const struct line_part *part)
{
	size_t rest;
	return !is_valid(part->text, part->length, &rest) || rest > 0;
}
