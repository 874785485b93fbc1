#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bytes.h"

static const int ignored[] = { SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGXFSZ, SIGUSR1, SIGUSR2, SIGTTIN,
	SIGTTOU };

static void close_from(unsigned first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	/* Before Linux 5.9: up to the limit, which the starter may have raised. */
	struct rlimit limit;
	unsigned end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1u << 20 ? (unsigned)limit.rlim_cur
											  : 1u << 20;
	for (unsigned fd = first; fd < end; fd++)
		close((int)fd);
}

static void reset_limits(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int process_detach(int last_fd)
{
	pid_t child = fork();
	if (child < 0)
		return -1;
	if (child > 0)
		_exit(0);
	close_from((unsigned)last_fd + 1);
	for (int fd = 3; fd <= last_fd; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	reset_limits();
	umask(022);
	return setsid() < 0 || chdir("/") < 0 ? -1 : 0;
}

int process_keep_only(const int *fds, int count)
{
	/* Out of the way first, so that none is overwritten before it is in its place. */
	int moved[8];
	for (int i = 0; i < count; i++)
		if ((moved[i] = fcntl(fds[i], F_DUPFD, 3 + count)) < 0)
			return -1;
	for (int i = 0; i < count; i++)
		if (dup2(moved[i], 3 + i) < 0 || fcntl(3 + i, F_SETFD, FD_CLOEXEC) < 0)
			return -1;
	close_from(3 + (unsigned)count);
	return setsid() < 0 ? -1 : 0;
}

void process_rename(char *argument, const char *name)
{
	size_t room = strlen(argument);
	size_t length = strnlen(name, room);
	memcpy(argument, name, length);
	memset(argument + length, 0, room - length);
}

int make_directories(const char *path, bool *made)
{
	char part[4096];
	size_t length = strlen(path);
	if (length >= sizeof part) {
		errno = ENAMETOOLONG;
		return -1;
	}
	*made = mkdir(path, 0755) == 0;
	if (*made || errno == EEXIST)
		return 0;
	memcpy(part, path, length + 1);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -1;
		*at = '/';
	}
	*made = mkdir(part, 0755) == 0;
	return *made || errno == EEXIST ? 0 : -1;
}

int enter_cgroup(const char *directory)
{
	char path[4096];
	bool made;
	if (!format_text(path, sizeof path, "%s/cgroup.procs", directory)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* systemd removes a scope's directory when the last process has left it: perhaps just now. */
	for (int attempt = 0; attempt < 10; attempt++) {
		if (make_directories(directory, &made) < 0 && errno != ENOENT)
			return -1;
		if (write_text_file(path, "0") == 0)
			return 0;
		if (errno != ENOENT && errno != ENODEV)
			return -1;
	}
	return -1;
}

int process_signals(void)
{
	sigset_t set;
	for (size_t i = 0; i < COUNT(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void process_reset_signals(void)
{
	sigset_t none;
	for (size_t i = 0; i < COUNT(ignored); i++)
		signal(ignored[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void protect_from_oom(char *previous, size_t size)
{
	if (read_text_file("/proc/self/oom_score_adj", previous, size) < 0)
		previous[0] = '\0';
	/* Lowering needs CAP_SYS_RESOURCE; without it the monitor's own cgroup must do. */
	write_text_file("/proc/self/oom_score_adj", "-998");
}

int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int process_answer_and_stay(int result)
{
	printf("%d\n", result);
	if (fflush(stdout) != 0 || result != 0)
		return 1;
	char rest[64];
	while (read(STDIN_FILENO, rest, sizeof rest) > 0)
		continue;
	return 0;
}
