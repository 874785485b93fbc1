/* The mode `run`: birth, and the one loop. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "process.h"
#include "unix_socket.h"

/* Pages of its own: those that were never touched stay so where it is made new. */
#define RUN_ALIGNMENT 65536
static struct run the_run __attribute__((aligned(RUN_ALIGNMENT)));
static char *shown_name;
static char spec_data[SPEC_MAX + 1];
static char problem[4608];

static const char *failed(const char *what, const char *name)
{
	format_text(problem, sizeof problem, "%s %s: %s", what, name, strerror(errno));
	return problem;
}

static const char *read_spec(struct run *run)
{
	size_t length = 0;
	ssize_t got;
	while (length < sizeof spec_data && (got = read(SPEC_FD, spec_data + length, sizeof spec_data - length)) > 0)
		length += (size_t)got;
	close(SPEC_FD);
	return spec_parse(spec_data, length, &run->spec);
}

static const char *enter_cgroups(const struct run *run)
{
	for (size_t i = 0; i < run->spec.monitor_cgroup_count; i++)
		if (enter_cgroup(run->spec.monitor_cgroups[i]) < 0)
			return failed("the monitor cannot enter the cgroup", run->spec.monitor_cgroups[i]);
	return NULL;
}

static void left(void *context, bool detached)
{
	struct run *run = context;
	const uint8_t payload = detached;
	control_event(run, EVENT_CLIENT_GONE, &payload, 1);
}

static const char *open_files(struct run *run)
{
	const char *directory = run->spec.directory;
	run->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (run->directory < 0)
		return failed("the monitor cannot open its run directory", directory);
	run->record_file = exit_record_reserve(run->directory);
	if (run->record_file < 0)
		return failed("the monitor cannot reserve the exit record in", directory);
	if (streams_open(&run->streams, &run->spec, run->directory) < 0)
		return failed("the monitor cannot make the standard streams of", run->spec.id);
	const char *error = log_open(&run->log, &run->spec);
	if (error)
		return error;
	/* Last: who finds the socket finds a monitor that is ready. */
	run->listener = unix_listen(run->directory, "control.sock");
	return run->listener < 0 ? failed("the monitor cannot listen in", directory) : NULL;
}

static const char *be_born(struct run *run)
{
	const char *error = read_spec(run);
	if (error)
		return error;
	process_rename(shown_name, run->spec.id);
	for (size_t i = 0; i < CONTROLS_MAX; i++)
		run->controls[i].fd = -1;
	run->oom.fd = -1;
	run->clients.stdin_once = run->spec.stdin_once;
	run->clients.left = left;
	run->clients.context = run;
	error = enter_cgroups(run);
	if (error)
		return error;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return failed("the monitor cannot become a subreaper for", run->spec.id);
	if (run->oom_score[0] == '\0')
		protect_from_oom(run->oom_score, sizeof run->oom_score);
	run->signals = process_signals();
	if (run->signals < 0)
		return failed("the monitor cannot receive signals for", run->spec.id);
	return open_files(run);
}

static void fill_poll_set(const struct run *run, struct poll_set *set)
{
	set->count = 0;
	poll_add(set, run->signals, POLLIN, POLL_SIGNALS, 0);
	poll_add(set, run->listener, POLLIN, POLL_LISTENER, 0);
	for (size_t i = 0; i < CONTROLS_MAX; i++) {
		const struct channel *channel = &run->controls[i];
		poll_add(set, channel->fd, channel->out_length > 0 ? POLLIN | POLLOUT : POLLIN, POLL_CHANNEL, i);
	}
	poll_add(set, run->oom.fd, POLLIN, POLL_OOM, 0);
	if (run->streams.console_connection >= 0)
		poll_add(set, run->streams.console_connection, POLLIN, POLL_CONSOLE, 0);
	else
		poll_add(set, run->streams.console_listener, POLLIN, POLL_CONSOLE, 0);
	if (clients_have_input(&run->clients))
		poll_add(set, run->streams.input, POLLOUT, POLL_INPUT, 0);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		if (run_wants_output(run, (enum stream)i))
			poll_add(set, run->streams.output[i], POLLIN, POLL_OUTPUT, i);
	clients_poll(&run->clients, set);
	waiters_poll(&run->waiters, set);
}

static void take_oom(struct run *run)
{
	if (oom_event(&run->oom))
		run_tell_oom(run);
}

static void take_signals(struct run *run)
{
	struct signalfd_siginfo info;
	while (read(run->signals, &info, sizeof info) == (ssize_t)sizeof info)
		continue;
	run_reap(run);
}

static void take_channel(struct run *run, size_t index, short events)
{
	if (run->controls[index].fd >= 0 && (events & POLLOUT))
		control_flush(run, index);
	if (run->controls[index].fd >= 0 && (events & (POLLIN | POLLHUP | POLLERR)))
		control_read(run, index);
}

static void take_console(struct run *run)
{
	/* A bad sender is the runtime's failure; its end tells. */
	if (run->streams.console_listener >= 0 && streams_take_console(&run->streams) < 0 &&
		run->streams.console_connection >= 0) {
		close(run->streams.console_connection);
		run->streams.console_connection = -1;
	}
}

static void dispatch(struct run *run, const struct poll_set *set, size_t at)
{
	size_t index = set->who[at].index;
	short events = set->fds[at].revents;
	switch (set->who[at].kind) {
	case POLL_SIGNALS:
		take_signals(run);
		break;
	case POLL_LISTENER:
		control_accept(run);
		break;
	case POLL_CHANNEL:
		take_channel(run, index, events);
		break;
	case POLL_CONSOLE:
		take_console(run);
		break;
	case POLL_OUTPUT:
		run_read_output(run, (enum stream)index);
		break;
	case POLL_CLIENT:
		clients_event(&run->clients, index, events);
		break;
	case POLL_WAITER:
		waiters_event(&run->waiters, (int)index);
		break;
	case POLL_OOM:
		take_oom(run);
		break;
	case POLL_INPUT:
		break;
	}
}

static bool has_daemon(const struct run *run)
{
	for (size_t i = 0; i < CONTROLS_MAX; i++)
		if (run->controls[i].fd >= 0)
			return true;
	return false;
}

/* What the events led to; true if there is more to do without waiting. */
static bool follow_up(struct run *run)
{
	int64_t now = clock_mono_ms();
	bool more = clients_write_input(&run->clients, &run->streams);
	more |= clients_pump(&run->clients, &run->log);
	run_deliver_held(run);
	run_settle_if_drained(run, now);
	if (run->phase == PHASE_EXITED || (run->phase == PHASE_FAILED && (run->released || !has_daemon(run)))) {
		clients_finish(&run->clients, &run->log);
		clients_cut_stalled(&run->clients, run->settled_at, now);
	}
	return more;
}

static bool is_done(const struct run *run)
{
	return run->released && (run->clients.count == 0 || run->phase == PHASE_NEW);
}

/* Clocks run only while something has an end to come; else the monitor sleeps until it is woken. */
static int patience(const struct run *run, bool more)
{
	if (more)
		return 0;
	if (run->draining && run->phase == PHASE_RUNNING)
		return 100;
	return run->phase >= PHASE_EXITED && run->clients.count > 0 ? 1000 : -1;
}

static void loop(struct run *run)
{
	static struct poll_set set;
	bool more = follow_up(run);
	while (!is_done(run)) {
		fill_poll_set(run, &set);
		int ready = poll(set.fds, set.count, patience(run, more));
		if (ready < 0 && errno != EINTR)
			break;
		for (size_t i = 0; ready > 0 && i < set.count; i++)
			if (set.fds[i].revents != 0)
				dispatch(run, &set, i);
		more = follow_up(run);
	}
}

static int serve(struct run *run)
{
	const char *error = be_born(run);
	if (error) {
		struct channel *channel = &run->controls[0];
		channel_open(channel, CONTROL_FD);
		channel_refuse(channel, error);
		return 1;
	}
	set_nonblocking(CONTROL_FD);
	control_adopt(run, CONTROL_FD);
	loop(run);
	waiters_answer(&run->waiters, WAIT_REMOVED, run->code);
	clients_drop_all(&run->clients);
	unlinkat(run->directory, "control.sock", 0);
	return 0;
}

int run_main(char *name)
{
	shown_name = name;
	return process_detach(RUNTIME_FD) < 0 ? 1 : serve(&the_run);
}

/* As at the program's start, but for the value that this process was protected from. */
static void make_new(struct run *run)
{
	char oom_score[sizeof run->oom_score];
	memcpy(oom_score, run->oom_score, sizeof oom_score);
	size_t whole = sizeof *run / RUN_ALIGNMENT * RUN_ALIGNMENT;
	if (madvise(run, whole, MADV_DONTNEED) < 0)
		whole = 0;
	memset((char *)run + whole, 0, sizeof *run - whole);
	memcpy(run->oom_score, oom_score, sizeof oom_score);
}

pid_t run_fork(int spec, int control, int runtime)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (process_keep_only((const int[]){ spec, control, runtime }, runtime < 0 ? 2 : 3) < 0)
			_exit(1);
		make_new(&the_run);
		_exit(serve(&the_run));
	}
	int failure = errno;
	close(spec);
	close(control);
	if (runtime >= 0)
		close(runtime);
	errno = failure;
	return pid;
}
