/* The OCI runtime's process: how it is called, and what it said when it failed. */
#ifndef BERTH_CHILD_H
#define BERTH_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "spec.h"
#include "streams.h"

#define FAILURE_TEXT_MAX 8192

/* Starts it with the container's streams; its pid, or -1 and errno. `oom_score` is what it gets back. */
pid_t child_start(const struct spec *spec, const struct streams *streams, const char *oom_score);

/* The first process's pid from the file that the runtime wrote; 0 if there is none. */
pid_t child_first_pid(int directory);

/* The runtime's own words: from its standard error, else from its log; empty if it said nothing. */
void child_failure_text(const struct streams *streams, int directory, char text[FAILURE_TEXT_MAX + 1]);

#endif
