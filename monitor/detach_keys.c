#include "detach_keys.h"

#include <string.h>

/* How much of the sequence is still matched after `byte` broke it: the longest beginning that ends here. */
static size_t fall_back(const struct detach_keys *keys, uint8_t byte)
{
	for (size_t length = keys->matched; length > 0; length--) {
		if (keys->keys[length - 1] != byte)
			continue;
		if (memcmp(keys->keys, keys->keys + keys->matched - (length - 1), length - 1) == 0)
			return length;
	}
	return 0;
}

size_t detach_filter(struct detach_keys *keys, const uint8_t *data, size_t length, uint8_t *to, bool *detached)
{
	size_t out = 0;
	if (keys->length == 0) {
		memcpy(to, data, length);
		return length;
	}
	for (size_t i = 0; i < length; i++) {
		if (data[i] == keys->keys[keys->matched]) {
			if (++keys->matched == keys->length) {
				*detached = true;
				return out;
			}
			continue;
		}
		size_t kept = fall_back(keys, data[i]);
		size_t given = keys->matched + 1 - kept;
		/* What is given up is the held keys, then this byte where nothing of it is kept. */
		size_t held = given < keys->matched ? given : keys->matched;
		memcpy(to + out, keys->keys, held);
		out += held;
		if (given > keys->matched)
			to[out++] = data[i];
		keys->matched = kept;
	}
	return out;
}

size_t detach_rest(struct detach_keys *keys, uint8_t *to)
{
	size_t length = keys->matched;
	memcpy(to, keys->keys, length);
	keys->matched = 0;
	return length;
}
