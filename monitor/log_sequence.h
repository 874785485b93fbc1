/* The numbers of log files on disk: the sidecar <path>.seq and the rotated files <path>.<number>. */
#ifndef BERTH_LOG_SEQUENCE_H
#define BERTH_LOG_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The current file's number: the sidecar's, corrected by what stands in the directory. */
uint64_t log_sequence_find(const char *path);

/* By temporary file and rename; 0, or -1 and errno. */
int log_sequence_write(const char *path, uint64_t sequence);

/* Removes the rotated files numbered `newest` and below, packed ones as well. */
void log_sequence_prune(const char *path, uint64_t newest);

#endif
