/* The key sequence by which a client leaves: found across reads, passed on where it breaks off. */
#ifndef BERTH_DETACH_KEYS_H
#define BERTH_DETACH_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DETACH_KEYS_MAX 64

struct detach_keys {
	size_t length;
	/* Keys of the sequence that are held back, as the last bytes that came. */
	size_t matched;
	uint8_t keys[DETACH_KEYS_MAX];
};

/*
 * Copies what is not part of the sequence to `to`, which has room for length +
 * DETACH_KEYS_MAX bytes, and returns its length. `*detached` is set at the
 * sequence's end; what follows it is dropped.
 */
size_t detach_filter(struct detach_keys *keys, const uint8_t *data, size_t length, uint8_t *to, bool *detached);

/* The client's input has ended: what was held back was no sequence. */
size_t detach_rest(struct detach_keys *keys, uint8_t *to);

#endif
