/* One line of a json-file log read back: text and stream. */
#ifndef BERTH_LOG_DECODE_H
#define BERTH_LOG_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECODED_MAX 32768

struct decoded {
	int stream;
	size_t length;
	uint8_t text[DECODED_MAX];
};

/* `length` is without the newline that ends the line. False for a line that this monitor did not write. */
bool log_decode(const uint8_t *line, size_t length, struct decoded *decoded);

#endif
