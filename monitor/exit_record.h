/* The exit record: a file whose blocks are reserved before the start, so that a full disk cannot lose it. */
#ifndef BERTH_EXIT_RECORD_H
#define BERTH_EXIT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXIT_ERROR_MAX 8192
#define EXIT_FIXED 40
#define EXIT_PAYLOAD_MAX (EXIT_FIXED + EXIT_ERROR_MAX)

enum run_phase { PHASE_NEW = 0, PHASE_STARTING = 1, PHASE_RUNNING = 2, PHASE_EXITED = 3, PHASE_FAILED = 4 };

struct exit_record {
	enum run_phase phase;
	int32_t pid;
	int32_t code;
	bool oom_killed;
	uint64_t started_at;
	uint64_t finished_at;
	const char *error;
};

/* Makes `exit` in the directory and reserves its blocks; the descriptor, or -1 and errno. */
int exit_record_reserve(int directory);

/* The record as it goes over the wire and to the file; returns its length. */
size_t exit_record_encode(const struct exit_record *record, uint8_t to[EXIT_PAYLOAD_MAX]);

/* Payload first, then the flag that makes it valid; 0, or -1 and errno. */
int exit_record_write(int fd, const uint8_t *payload, size_t length);

#endif
