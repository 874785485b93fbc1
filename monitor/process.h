/* Making and shedding process state: the monitor's own birth, cgroups, limits, signals. */
#ifndef BERTH_PROCESS_H
#define BERTH_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors that the starter hands over. */
#define SPEC_FD 3
#define CONTROL_FD 4
/* The runtime's program as a sealed file in memory, where the specification says so. */
#define RUNTIME_FD 5

/*
 * Leaves the starter's session: forks (the starter waits for the first process,
 * which ends at once), closes all but 0 to `last_fd`, resets cwd, umask, signals
 * and the soft limit of open files. Returns in the second process only.
 */
int process_detach(int last_fd);

/* In a child that goes on as a process of its own kind: keeps these descriptors as 3, 4, …, and closes all else above 2. */
int process_keep_only(const int *fds, int count);

/* What others see in the process list in place of an argument; no longer than that was. */
void process_rename(char *argument, const char *name);

/* Makes the directory and its parents; `*made` tells whether the last one is new. 0, or -1 and errno. */
int make_directories(const char *path, bool *made);

/* Moves this process into a cgroup, made if it is missing; 0, or -1 and errno. */
int enter_cgroup(const char *directory);

/* A descriptor that becomes readable at SIGCHLD; ignores what would end a monitor. */
int process_signals(void);

/* What a child must undo before it runs another program. */
void process_reset_signals(void);

/* Asks the kernel to kill this process late; `previous` is for the children. */
void protect_from_oom(char *previous, size_t size);

int set_nonblocking(int fd);

/* Says on stdout 0 or an errno; after a 0 stays until its input ends. Gives the status to end with. */
int process_answer_and_stay(int result);

#endif
