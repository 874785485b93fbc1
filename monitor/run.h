/* One run of a container or one exec: what the monitor knows, and what the daemon can ask of it. */
#ifndef BERTH_RUN_H
#define BERTH_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "child.h"
#include "clients.h"
#include "exit_record.h"
#include "log_file.h"
#include "oom.h"
#include "protocol.h"
#include "spec.h"
#include "streams.h"
#include "waiters.h"

#define CONTROLS_MAX 8

struct run {
	struct spec spec;
	int directory;
	int record_file;
	int signals;
	int listener;
	enum run_phase phase;
	/* The runtime while it works; then the first process until it is reaped. */
	pid_t runtime;
	pid_t pid;
	uint64_t started_at;
	uint64_t finished_at;
	int code;
	/* The first process is gone and its output is drained; monotonic milliseconds. */
	bool draining;
	int64_t drain_began;
	int64_t drain_moved;
	int64_t drain_ticked;
	/* Of the drain's time, what no slow client took. */
	int64_t drain_spent;
	int64_t settled_at;
	bool oom_told;
	bool released;
	/* The request that waits for the runtime. */
	struct channel *starter;
	uint16_t start_tag;
	char oom_score[16];
	char failure[FAILURE_TEXT_MAX + 1];
	/* A batch that was read and cannot be given on yet. */
	bool held;
	enum stream batch_stream;
	size_t batch_length;
	bool ended[STREAM_COUNT];
	struct streams streams;
	struct oom_watch oom;
	struct clients clients;
	struct waiters waiters;
	struct log log;
	struct channel controls[CONTROLS_MAX];
};

/* The mode `run`: the specification comes on SPEC_FD, the first control connection on CONTROL_FD. */
int run_main(char *name);

/*
 * Makes a monitor for what the specification says, a child of this one: its cgroups, its environment
 * and its protection are this one's. The descriptors (`runtime` may be -1) are closed
 * here. Its pid, or -1.
 */
pid_t run_fork(int spec, int control, int runtime);

/* run_life.c: start to exit. NULL, or why it cannot be. */
const char *run_start(struct run *run);
void run_reap(struct run *run);
/* The container's memory ran out: told once. */
void run_tell_oom(struct run *run);
/* Ends the drain where its limits are reached, then settles: record, word, answers, closes. */
void run_settle_if_drained(struct run *run, int64_t now);
struct exit_record run_exit_record(const struct run *run);

/* run_output.c */
void run_read_output(struct run *run, enum stream stream);
void run_deliver_held(struct run *run);
/* Whether more output may be read now. */
bool run_wants_output(const struct run *run, enum stream stream);
bool run_output_ended(const struct run *run);
void run_abandon_output(struct run *run);

/* control.c */
void control_accept(struct run *run);
void control_adopt(struct run *run, int fd);
void control_read(struct run *run, size_t index);
void control_flush(struct run *run, size_t index);
void control_event(struct run *run, uint16_t type, const uint8_t *payload, size_t length);
void control_send(struct channel *channel, uint16_t type, uint16_t tag, const uint8_t *payload, size_t length);
size_t control_status(const struct run *run, uint8_t *payload);
#define STATUS_FIXED 20
#define STATUS_MAX (STATUS_FIXED + EXIT_PAYLOAD_MAX)

/* request.c: carries out one request of a daemon that has said hello. */
void request_handle(struct run *run, struct channel *channel, const struct frame *frame);

#endif
