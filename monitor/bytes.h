/* Little-endian numbers, CRC-32, and writing small files: what every other file needs. */
#ifndef BERTH_BYTES_H
#define BERTH_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void put_u16(uint8_t *at, uint16_t value);
void put_u32(uint8_t *at, uint32_t value);
void put_u64(uint8_t *at, uint64_t value);
uint16_t get_u16(const uint8_t *at);
uint32_t get_u32(const uint8_t *at);
uint64_t get_u64(const uint8_t *at);

/* CRC-32 as in zlib. */
uint32_t crc32_of(const uint8_t *data, size_t length);

/* A decimal number that fills the whole text; false where it is not one or exceeds `max`. */
bool parse_number(const char *text, uint64_t max, uint64_t *value);

/* printf into a fixed buffer, always terminated; false where it did not fit. */
bool format_text(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Writes a short text to an existing file (a cgroup's or proc's control file); -1 and errno on failure. */
int write_text_file(const char *path, const char *text);

/* Reads at most size - 1 bytes and terminates them; the length, or -1 and errno. */
long read_text_file(const char *path, char *to, size_t size);

#endif
