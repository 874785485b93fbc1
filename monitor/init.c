#include "init.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Those that tell of this process's own mistakes, and those that belong to job control of its own. */
static const int kept[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU };

static void run_command(char **command, const sigset_t *mask)
{
	/* A group of its own in the foreground, so that keys of the terminal reach it and not us. */
	setpgid(0, 0);
	if (isatty(STDIN_FILENO))
		tcsetpgrp(STDIN_FILENO, getpid());
	signal(SIGTTIN, SIG_DFL);
	signal(SIGTTOU, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	int failure = errno;
	fprintf(stderr, "docker-init: cannot run %s: %s\n", command[0], strerror(failure));
	_exit(failure == ENOENT ? 127 : 126);
}

/* Reaps all that have ended; the exit code once the command is among them, else -1. */
static int reap(pid_t command)
{
	int code = -1;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == command)
			code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	return code;
}

static int watch(pid_t command, const sigset_t *set)
{
	for (;;) {
		siginfo_t info;
		if (sigwaitinfo(set, &info) < 0)
			continue;
		if (info.si_signo != SIGCHLD) {
			kill(command, info.si_signo);
			continue;
		}
		int code = reap(command);
		if (code >= 0)
			return code;
	}
}

int init_main(char **arguments)
{
	sigset_t set;
	sigset_t before;
	while (*arguments && **arguments == '-') {
		int last = strcmp(*arguments, "--") == 0;
		arguments++;
		if (last)
			break;
	}
	if (!*arguments) {
		fputs("docker-init: no command to run\n", stderr);
		return 2;
	}
	sigfillset(&set);
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
		sigdelset(&set, kept[i]);
	/* Else moving the command to the foreground would stop it. */
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	sigprocmask(SIG_SETMASK, &set, &before);
	if (getpid() != 1)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid_t command = fork();
	if (command < 0) {
		fprintf(stderr, "docker-init: cannot make a process: %s\n", strerror(errno));
		return 1;
	}
	if (command == 0)
		run_command(arguments, &before);
	return watch(command, &set);
}
