/* The life of the process: started by the runtime, reaped, drained, recorded, told. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "run.h"

/* After the first process: no output for so long, or no end for so long, and the rest is given up. */
#define DRAIN_IDLE_MS 2000
#define DRAIN_TOTAL_MS 10000
/* What a shell says of a command that cannot be run. */
#define CODE_NOT_STARTED 127
#define CODE_UNKNOWN 255

struct exit_record run_exit_record(const struct run *run)
{
	return (struct exit_record){
		.phase = run->phase,
		.pid = (int32_t)run->pid,
		.code = run->code,
		.oom_killed = run->oom.killed,
		.started_at = run->started_at,
		.finished_at = run->finished_at,
		.error = run->failure,
	};
}

/* In this order: the record, word to the daemons, the waiters. The streams are closed by the loop after it. */
static void settle(struct run *run, enum run_phase phase)
{
	static uint8_t payload[EXIT_PAYLOAD_MAX];
	run->phase = phase;
	run->settled_at = clock_mono_ms();
	struct exit_record record = run_exit_record(run);
	size_t length = exit_record_encode(&record, payload);
	/* The blocks are reserved: this fails only where the file system is gone, and then the daemon has the event. */
	exit_record_write(run->record_file, payload, length);
	control_event(run, EVENT_EXITED, payload, length);
	waiters_answer(&run->waiters, WAIT_EXIT, run->code);
}

static void answer_starter(struct run *run)
{
	static uint8_t payload[STATUS_MAX];
	struct channel *starter = run->starter;
	run->starter = NULL;
	if (!starter)
		return;
	if (run->phase == PHASE_RUNNING)
		control_send(starter, REPLY_STATUS, run->start_tag, payload, control_status(run, payload));
	else
		control_send(starter, REPLY_ERROR, run->start_tag, (const uint8_t *)run->failure, strlen(run->failure));
}

static void fail(struct run *run, const char *text)
{
	if (run->failure[0] == '\0')
		format_text(run->failure, sizeof run->failure, "%s", text);
	run->code = CODE_NOT_STARTED;
	run->finished_at = clock_wall_ns();
	oom_undo(&run->oom);
	streams_close_output(&run->streams, STREAM_STDOUT);
	streams_close_output(&run->streams, STREAM_STDERR);
	settle(run, PHASE_FAILED);
	answer_starter(run);
}

const char *run_start(struct run *run)
{
	char text[256];
	run->phase = PHASE_STARTING;
	/* Without the memory controller a container still starts; only its OOM kills go unseen. */
	if (oom_open(&run->oom, run->spec.memory_cgroup) < 0 && run->oom.fd >= 0) {
		close(run->oom.fd);
		run->oom.fd = -1;
	}
	run->runtime = child_start(&run->spec, &run->streams, run->oom_score);
	int failure = errno;
	streams_close_child(&run->streams);
	if (run->runtime > 0)
		return NULL;
	run->runtime = 0;
	format_text(text, sizeof text, "the monitor cannot make a process for the OCI runtime: %s", strerror(failure));
	fail(run, text);
	return run->failure;
}

static void describe_failure(struct run *run, int status, char *text, size_t size)
{
	child_failure_text(&run->streams, run->directory, run->failure);
	if (WIFSIGNALED(status))
		format_text(text, size, "the OCI runtime %s was killed by signal %d", run->spec.runtime, WTERMSIG(status));
	else
		format_text(text, size, "the OCI runtime %s ended with status %d and said nothing", run->spec.runtime,
			WEXITSTATUS(status));
}

static void runtime_ended(struct run *run, int status)
{
	uint8_t payload[STATUS_FIXED];
	char text[4352];
	run->runtime = 0;
	run->pid = child_first_pid(run->directory);
	/* It may have sent the pty and ended before the loop came round. */
	while (run->streams.console_listener >= 0 && streams_take_console(&run->streams) == 0 &&
		run->streams.console_connection >= 0)
		continue;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		run->pid = 0;
		describe_failure(run, status, text, sizeof text);
		fail(run, text);
		return;
	}
	if (run->pid == 0 || (run->spec.terminal && run->streams.output[STREAM_STDOUT] < 0)) {
		fail(run, run->pid == 0 ? "the OCI runtime left no pid file" : "the OCI runtime sent no terminal");
		return;
	}
	run->started_at = clock_wall_ns();
	run->phase = PHASE_RUNNING;
	/* The event first: whoever hears the answer finds the start noted. */
	control_event(run, EVENT_STARTED, payload, control_status(run, payload));
	answer_starter(run);
}

void run_tell_oom(struct run *run)
{
	if (run->oom_told)
		return;
	run->oom_told = true;
	control_event(run, EVENT_OOM, NULL, 0);
}

static void first_ended(struct run *run, int status)
{
	run->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	run->finished_at = clock_wall_ns();
	run->draining = true;
	run->drain_began = run->drain_moved = run->drain_ticked = clock_mono_ms();
	if (oom_killed(&run->oom, run->code == 128 + SIGKILL))
		run_tell_oom(run);
	streams_close_input(&run->streams);
	control_event(run, EVENT_ENDED, NULL, 0);
}

/* No child is left, and the first process was not among those that ended: nobody will ever hear of its end. */
static void first_lost(struct run *run)
{
	format_text(run->failure, sizeof run->failure,
		"the OCI runtime %s waited for the process itself: its exit code is not known", run->spec.runtime);
	first_ended(run, CODE_UNKNOWN << 8);
}

void run_reap(struct run *run)
{
	int status;
	/* While the runtime works only it is reaped: the first process may end before its pid is known. */
	if (run->runtime > 0) {
		if (waitpid(run->runtime, &status, WNOHANG) != run->runtime)
			return;
		runtime_ended(run, status);
	}
	for (;;) {
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno == ECHILD && run->phase == PHASE_RUNNING && !run->draining)
			first_lost(run);
		if (pid <= 0)
			return;
		if (pid == run->pid && run->phase == PHASE_RUNNING && !run->draining)
			first_ended(run, status);
	}
}

/* A slow client that holds the output back stops these clocks; it has a limit of its own. */
static bool is_held_back(const struct run *run)
{
	for (size_t i = 0; i < STREAM_COUNT; i++)
		if (run->streams.output[i] >= 0 && !run_wants_output(run, (enum stream)i))
			return true;
	return run->held;
}

void run_settle_if_drained(struct run *run, int64_t now)
{
	if (!run->draining || run->phase != PHASE_RUNNING)
		return;
	int64_t passed = now - run->drain_ticked;
	run->drain_ticked = now;
	if (is_held_back(run)) {
		clients_cut_stalled(&run->clients, run->drain_began, now);
		run->drain_moved = now;
	} else {
		run->drain_spent += passed;
		if (now - run->drain_moved >= DRAIN_IDLE_MS || run->drain_spent >= DRAIN_TOTAL_MS)
			run_abandon_output(run);
	}
	if (run_output_ended(run)) {
		log_close(&run->log);
		if (oom_killed(&run->oom, run->code == 128 + SIGKILL))
			run_tell_oom(run);
		settle(run, PHASE_EXITED);
	}
}
