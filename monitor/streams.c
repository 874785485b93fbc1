#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "bytes.h"
#include "process.h"
#include "unix_socket.h"

static void forget(struct streams *streams)
{
	streams->input = -1;
	streams->output[0] = streams->output[1] = -1;
	streams->child[0] = streams->child[1] = streams->child[2] = -1;
	streams->console_listener = -1;
	streams->console_connection = -1;
}

static int make_pipe(int *reader, int *writer)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*reader = ends[0];
	*writer = ends[1];
	return 0;
}

static bool has_owner(const struct spec *spec)
{
	return spec->owner_uid != 0 || spec->owner_gid != 0;
}

/* A process opens its own again by /proc/self/fd, and a runtime may not give it what belongs to root of the host. */
static int give_pipe(int end, const struct spec *spec)
{
	return has_owner(spec) ? fchown(end, spec->owner_uid, spec->owner_gid) : 0;
}

/* A file in memory that stays empty. */
static int open_empty(void)
{
	char path[32];
	int file = memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file < 0)
		return -1;
	format_text(path, sizeof path, "/proc/self/fd/%d", file);
	int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	int empty = fcntl(file, F_ADD_SEALS, seals) < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	int failure = errno;
	close(file);
	errno = failure;
	return empty;
}

/* crun gives all three to root of the container's user namespace: the host's own /dev/null, too. */
static int open_null(const struct spec *spec)
{
	return has_owner(spec) ? open_empty() : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int open_pipes(struct streams *streams, const struct spec *spec)
{
	if (spec->open_stdin && make_pipe(&streams->child[0], &streams->input) < 0)
		return -1;
	if (!spec->open_stdin)
		streams->child[0] = open_null(spec);
	if (make_pipe(&streams->output[STREAM_STDOUT], &streams->child[1]) < 0)
		return -1;
	if (make_pipe(&streams->output[STREAM_STDERR], &streams->child[2]) < 0)
		return -1;
	if (streams->input >= 0 && give_pipe(streams->input, spec) < 0)
		return -1;
	if (give_pipe(streams->child[1], spec) < 0 || give_pipe(streams->child[2], spec) < 0)
		return -1;
	/* Only our ends: a container expects its own to block. */
	if (streams->input >= 0 && set_nonblocking(streams->input) < 0)
		return -1;
	return set_nonblocking(streams->output[0]) < 0 || set_nonblocking(streams->output[1]) < 0 ? -1 : 0;
}

static int open_console(struct streams *streams, const struct spec *spec, int directory)
{
	streams->console_listener = unix_listen(directory, "console.sock");
	if (streams->console_listener < 0)
		return -1;
	streams->child[0] = open_null(spec);
	streams->child[1] = openat(directory, "runtime.err", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	streams->child[2] = fcntl(streams->child[1], F_DUPFD_CLOEXEC, 0);
	if (streams->child[0] < 0 || streams->child[1] < 0 || streams->child[2] < 0)
		return -1;
	/* A socket's path has at most 107 bytes; a longer one is reached by way of our descriptor. */
	if (format_text(streams->console_path, 108, "%s/console.sock", spec->directory))
		return 0;
	format_text(streams->console_path, sizeof streams->console_path, "/proc/%d/fd/%d/console.sock", (int)getpid(),
		directory);
	return 0;
}

int streams_open(struct streams *streams, const struct spec *spec, int directory)
{
	forget(streams);
	streams->terminal = spec->terminal;
	streams->input_closed = !spec->open_stdin;
	streams->columns = spec->columns;
	streams->rows = spec->rows;
	return spec->terminal ? open_console(streams, spec, directory) : open_pipes(streams, spec);
}

void streams_close_child(struct streams *streams)
{
	for (int i = 0; i < 3; i++) {
		if (streams->child[i] >= 0)
			close(streams->child[i]);
		streams->child[i] = -1;
	}
}

static void close_console(struct streams *streams)
{
	if (streams->console_listener >= 0)
		close(streams->console_listener);
	if (streams->console_connection >= 0)
		close(streams->console_connection);
	streams->console_listener = -1;
	streams->console_connection = -1;
}

static int take_pty(struct streams *streams, int pty)
{
	close_console(streams);
	if (set_nonblocking(pty) < 0) {
		close(pty);
		return -1;
	}
	streams->output[STREAM_STDOUT] = pty;
	if (!streams->input_closed)
		streams->input = fcntl(pty, F_DUPFD_CLOEXEC, 0);
	streams_resize(streams, streams->columns, streams->rows);
	return 1;
}

int streams_take_console(struct streams *streams)
{
	if (streams->console_connection < 0) {
		int fd = accept4(streams->console_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		streams->console_connection = fd;
	}
	char name[256];
	int pty = -1;
	ssize_t length = unix_receive_fd(streams->console_connection, name, sizeof name, &pty);
	if (length < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (pty < 0)
		return -1;
	return take_pty(streams, pty);
}

void streams_resize(struct streams *streams, uint16_t columns, uint16_t rows)
{
	streams->columns = columns;
	streams->rows = rows;
	if (!streams->terminal || streams->output[STREAM_STDOUT] < 0 || (columns == 0 && rows == 0))
		return;
	struct winsize size = { .ws_col = columns, .ws_row = rows };
	ioctl(streams->output[STREAM_STDOUT], TIOCSWINSZ, &size);
}

void streams_close_input(struct streams *streams)
{
	if (streams->input >= 0)
		close(streams->input);
	streams->input = -1;
	streams->input_closed = true;
}

void streams_close_output(struct streams *streams, enum stream stream)
{
	if (streams->output[stream] >= 0)
		close(streams->output[stream]);
	streams->output[stream] = -1;
}
