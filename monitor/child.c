#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bytes.h"
#include "process.h"
#include "view.h"

#define ARGUMENTS_MAX (SPEC_LIST_MAX + 24)
#define PATH_SIZE 4096

struct command {
	const char *argument[ARGUMENTS_MAX];
	size_t count;
	char log[PATH_SIZE];
	char pid_file[PATH_SIZE];
	char work[PATH_SIZE];
};

static void add(struct command *command, const char *argument)
{
	command->argument[command->count++] = argument;
}

static void add_option(struct command *command, const char *name, const char *value)
{
	add(command, name);
	add(command, value);
}

static const char *verb(const struct spec *spec)
{
	if (!spec->bundle)
		return "exec";
	return spec->checkpoint ? "restore" : "run";
}

static bool build(struct command *command, const struct spec *spec, const struct streams *streams)
{
	command->count = 0;
	if (!format_text(command->log, sizeof command->log, "%s/runtime.log", spec->directory) ||
		!format_text(command->pid_file, sizeof command->pid_file, "%s/pid", spec->directory) ||
		!format_text(command->work, sizeof command->work, "%s/criu", spec->directory))
		return false;
	add(command, spec->runtime);
	for (size_t i = 0; i < spec->runtime_arg_count; i++)
		add(command, spec->runtime_args[i]);
	add_option(command, "--root", spec->root);
	add_option(command, "--log", command->log);
	add(command, verb(spec));
	add(command, "--detach");
	if (spec->bundle)
		add_option(command, "--bundle", spec->bundle);
	else
		add_option(command, "--process", spec->process);
	if (spec->checkpoint) {
		add_option(command, "--image-path", spec->checkpoint);
		add_option(command, "--work-path", command->work);
	}
	add_option(command, "--pid-file", command->pid_file);
	if (spec->terminal)
		add_option(command, "--console-socket", streams->console_path);
	add(command, spec->bundle ? spec->id : spec->container);
	command->argument[command->count] = NULL;
	return true;
}

static _Noreturn void complain(const char *what, const char *name)
{
	char text[PATH_SIZE + 256];
	int failure = errno;
	format_text(text, sizeof text, "berth-monitor: %s %s: %s\n", what, name, strerror(failure));
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(126);
	_exit(failure == ENOENT ? 127 : 126);
}

/* crun refuses a hybrid hierarchy; without the unified tree in its sight the host looks like version 1. */
static void hide_unified(bool has_view)
{
	const char *tree = "/sys/fs/cgroup";
	if ((!has_view && unshare(CLONE_NEWNS) < 0) || mount(NULL, tree, NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		complain("cannot make a private mount namespace at", tree);
	const char *unified = "/sys/fs/cgroup/unified";
	if (umount2(unified, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		complain("cannot hide", unified);
	/* It makes directories there all the same, which a read-only parent would refuse, and another would keep. */
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (mount("berth", unified, "tmpfs", flags, "size=64k,mode=755") < 0 && errno != ENOENT)
		complain("cannot cover", unified);
}

/* Never lower: the runtime needs its own until it sets those of the process. */
static void raise_limits(const struct spec *spec)
{
	for (size_t i = 0; i < spec->hard_limit_count; i++) {
		struct rlimit limit;
		rlim_t hard = (rlim_t)spec->hard_limits[i].hard;
		if (getrlimit(spec->hard_limits[i].resource, &limit) < 0 || limit.rlim_max >= hard)
			continue;
		limit.rlim_max = hard;
		/* Where that fails the runtime does, and says so. */
		setrlimit(spec->hard_limits[i].resource, &limit);
	}
}

/* In the child, in the parent's memory: nothing is changed there but this stack. */
static _Noreturn void run(
	const struct command *command, const struct spec *spec, const struct streams *streams, const char *oom_score)
{
	if (spec->oom_score_adj)
		write_text_file("/proc/self/oom_score_adj", spec->oom_score_adj);
	else if (oom_score[0] != '\0')
		write_text_file("/proc/self/oom_score_adj", oom_score);
	/* Ours all have numbers above two, so none is overwritten before it is used. */
	for (int i = 0; i < 3; i++)
		if (dup2(streams->child[i], i) < 0)
			_exit(126);
	raise_limits(spec);
	const char *failed = spec->bare ? view_enter(spec) : NULL;
	if (failed)
		complain(failed, spec->bare);
	if (spec->hide_unified)
		hide_unified(spec->bare != NULL);
	process_reset_signals();
	char *const *arguments;
	memcpy(&arguments, &(const char *const *){ command->argument }, sizeof arguments);
	/* Where a rule of the host's forbids programs in memory, the file itself is run. */
	if (spec->sealed_runtime)
		syscall(SYS_execveat, RUNTIME_FD, "", arguments, environ, AT_EMPTY_PATH);
	execv(spec->runtime, arguments);
	complain("cannot run the OCI runtime", spec->runtime);
}

pid_t child_start(const struct spec *spec, const struct streams *streams, const char *oom_score)
{
	static struct command command;
	if (!build(&command, spec, streams)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* Shares the memory until the runtime is called: a copy's page tables cost more than all else here. */
	pid_t pid = vfork();
	if (pid == 0)
		run(&command, spec, streams, oom_score);
	/* The process has it, if anyone: a later daemon brings a copy of its own. */
	if (spec->sealed_runtime)
		close(RUNTIME_FD);
	return pid;
}

static size_t read_tail(int fd, char *text, size_t size)
{
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > (off_t)size ? end - (off_t)size : 0;
	ssize_t length = pread(fd, text, size, from);
	return length > 0 ? (size_t)length : 0;
}

static size_t read_file_at(int directory, const char *name, char *text, size_t size)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	size_t length = read_tail(fd, text, size);
	close(fd);
	return length;
}

pid_t child_first_pid(int directory)
{
	char text[32];
	uint64_t pid;
	size_t length = read_file_at(directory, "pid", text, sizeof text - 1);
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_number(text, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

static size_t read_pipe(int fd, char *text, size_t size)
{
	size_t length = 0;
	while (length < size) {
		ssize_t got = read(fd, text + length, size - length);
		if (got <= 0)
			break;
		length += (size_t)got;
	}
	return length;
}

void child_failure_text(const struct streams *streams, int directory, char text[FAILURE_TEXT_MAX + 1])
{
	size_t length = 0;
	if (streams->output[STREAM_STDERR] >= 0)
		length = read_pipe(streams->output[STREAM_STDERR], text, FAILURE_TEXT_MAX);
	else
		length = read_file_at(directory, "runtime.err", text, FAILURE_TEXT_MAX);
	if (length == 0)
		length = read_file_at(directory, "runtime.log", text, FAILURE_TEXT_MAX);
	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\0'))
		length--;
	text[length] = '\0';
}
