/*
 * Feeds the parsers with random and mutated bytes and holds them to what they
 * promise. Built with the sanitizers; run by src/runtime/monitorParsers.test.ts.
 *   berth-monitor-parsers SEED ROUNDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "detach_keys.h"
#include "log_decode.h"
#include "log_line.h"
#include "protocol.h"
#include "spec.h"

#define INPUT_MAX 70000

static uint64_t state;

static uint32_t random_number(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static void demand(bool truth, const char *what)
{
	if (truth)
		return;
	fprintf(stderr, "broken promise: %s\n", what);
	exit(1);
}

/* Text with what matters to the parsers: newlines, quotes, escapes, UTF-8 whole and broken. */
static size_t make_text(uint8_t *to, size_t size)
{
	static const char *const pieces[] = { "\n", "\"", "\\", "\\u00", "é", "€", "\xf0\x9f\x98\x80", "\xe2\x80\xa8", "\xff",
		"\xc3", "\xe2\x82", "<", "&", "\x01", "{\"log\":\"", "\",\"stream\":\"stdout\"", "}", "plain text 0123456789" };
	size_t length = 0;
	size_t wanted = random_number(4) == 0 ? random_number((uint32_t)size) : random_number(200);
	while (length < wanted) {
		const char *piece = pieces[random_number(COUNT(pieces))];
		size_t piece_length = strlen(piece);
		if (length + piece_length > size)
			break;
		memcpy(to + length, piece, piece_length);
		length += piece_length;
		for (uint32_t run = random_number(20) == 0 ? random_number(20000) : 0; run > 0 && length < wanted; run--)
			to[length++] = 'a';
	}
	return length;
}

static void frames(uint8_t *data, size_t length)
{
	struct frame frame;
	int found = frame_parse(data, length, &frame);
	if (found == 1) {
		demand(FRAME_HEADER + (size_t)frame.length <= length, "a frame lies within its bytes");
		demand(frame.length <= REQUEST_MAX, "a frame keeps to the bound");
		hello_version(&frame);
	}
}

static void specs(uint8_t *data, size_t length)
{
	static const char *const words[] = { "id", "directory", "/run", "runtime", "/bin/runc", "root", "bundle", "columns",
		"70000", "80", "log-max-file", "1", "runtime-arg", "monitor-cgroup", "terminal", "" };
	static struct spec spec;
	size_t at = 0;
	spec_parse((char *)data, length, &spec);
	for (uint32_t count = random_number(120); count > 0 && at + 32 < INPUT_MAX; count--) {
		const char *word = words[random_number(COUNT(words))];
		memcpy(data + at, word, strlen(word) + 1);
		at += strlen(word) + 1;
	}
	if (!spec_parse((char *)data, at, &spec)) {
		demand(spec.id && spec.runtime && spec.directory[0] == '/', "an accepted specification is whole");
		demand(!spec.checkpoint || spec.bundle, "an accepted checkpoint has its bundle");
		demand(spec.log_max_file >= 1, "an accepted specification keeps a file");
	}
}

/* Text through the encoder and back through the decoder: the same, but for bytes that are no UTF-8. */
static void round_trip(const struct line *line, uint8_t *sum, size_t *sum_length)
{
	static uint8_t encoded[ENCODED_TEXT_MAX + 128];
	static struct decoded decoded;
	static const char opening[] = "{\"log\":\"";
	static const char closing[] = "\",\"stream\":\"stdout\",\"time\":\"x\"}";
	size_t length = sizeof opening - 1;
	memcpy(encoded, opening, length);
	size_t escaped = line_escape(line->text, line->length, encoded + length);
	demand(escaped <= ENCODED_TEXT_MAX - 2, "an escaped line fits its buffer");
	length += escaped;
	if (line->newline) {
		memcpy(encoded + length, "\\n", 2);
		length += 2;
	}
	memcpy(encoded + length, closing, sizeof closing - 1);
	length += sizeof closing - 1;
	demand(memchr(encoded, '\n', length) == NULL, "an encoded line holds no newline");
	demand(line->length <= LINE_MAX_BYTES, "a line keeps to its bound");
	bool done = log_decode(encoded, length, &decoded);
	if (line->length <= DECODED_MAX / 3) {
		demand(done && decoded.stream == STREAM_STDOUT, "what was encoded is decoded");
		memcpy(sum + *sum_length, decoded.text, decoded.length);
		*sum_length += decoded.length;
		return;
	}
	/* Where every byte became three, the decoder may refuse; then only the text itself is compared. */
	memcpy(sum + *sum_length, line->text, line->length);
	*sum_length += line->length;
	if (line->newline)
		sum[(*sum_length)++] = '\n';
}

static void lines(const uint8_t *data, size_t length)
{
	static struct line_part part;
	static uint8_t sum[INPUT_MAX * 4];
	struct line line;
	size_t sum_length = 0;
	bool lossy = false;
	memset(&part, 0, sizeof part);
	for (size_t at = 0; at < length;) {
		size_t batch = 1 + random_number(random_number(2) ? 30 : 65536);
		size_t used = 0;
		if (batch > length - at)
			batch = length - at;
		lossy |= line_is_lossy(&part, data + at, batch);
		while (line_next(&part, data + at, batch, &used, &line))
			round_trip(&line, sum, &sum_length);
		demand(used == batch, "a batch is used up");
		at += batch;
	}
	lossy |= line_ends_lossy(&part);
	if (line_last(&part, &line))
		round_trip(&line, sum, &sum_length);
	if (!lossy)
		demand(sum_length == length && memcmp(sum, data, length) == 0, "valid text comes back as it was");
}

static void decode(const uint8_t *data, size_t length)
{
	static struct decoded decoded;
	if (length > 0 && log_decode(data, length, &decoded))
		demand(decoded.length <= DECODED_MAX, "decoded text keeps to its bound");
}

/* The filter against the plain definition: the input up to the first occurrence of the sequence. */
static void keys(void)
{
	static uint8_t input[400];
	static uint8_t output[400 + DETACH_KEYS_MAX];
	struct detach_keys sequence = { .length = 1 + random_number(5) };
	size_t length = random_number(sizeof input);
	size_t expected = length;
	size_t got = 0;
	bool detached = false;
	for (size_t i = 0; i < sequence.length; i++)
		sequence.keys[i] = (uint8_t)random_number(2);
	for (size_t i = 0; i < length; i++)
		input[i] = (uint8_t)random_number(random_number(8) == 0 ? 3 : 2);
	for (size_t i = 0; i + sequence.length <= length && expected == length; i++)
		if (memcmp(input + i, sequence.keys, sequence.length) == 0)
			expected = i;
	bool occurs = expected < length;
	for (size_t at = 0; at < length && !detached;) {
		size_t step = 1 + random_number(7);
		if (step > length - at)
			step = length - at;
		got += detach_filter(&sequence, input + at, step, output + got, &detached);
		at += step;
	}
	if (!detached)
		got += detach_rest(&sequence, output + got);
	demand(detached == occurs, "the sequence is found where it is, and only there");
	demand(got == expected && memcmp(output, input, got) == 0, "all before the sequence is passed on");
}

int main(int count, char **arguments)
{
	static uint8_t data[INPUT_MAX];
	if (count != 3)
		return 2;
	state = strtoull(arguments[1], NULL, 10) * 2654435761u + 88172645463325252u;
	for (unsigned long rounds = strtoul(arguments[2], NULL, 10); rounds > 0; rounds--) {
		size_t length = make_text(data, sizeof data);
		lines(data, length);
		decode(data, length);
		keys();
		for (uint32_t flips = random_number(8); flips > 0 && length > 0; flips--)
			data[random_number((uint32_t)length)] = (uint8_t)random_number(256);
		lines(data, length);
		decode(data, length);
		frames(data, length);
		if (length >= FRAME_HEADER)
			put_u32(data, random_number(2000));
		frames(data, length);
		specs(data, length);
	}
	puts("all promises held");
	return 0;
}
