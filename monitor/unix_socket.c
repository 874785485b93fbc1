#include "unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bytes.h"

int unix_listen(int directory, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (!format_text(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	unlinkat(directory, name, 0);
	mode_t mask = umask(0177);
	int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
	umask(mask);
	if (bound == 0 && listen(fd, 64) == 0)
		return fd;
	int failure = errno;
	close(fd);
	errno = failure;
	return -1;
}

ssize_t unix_receive_fd(int socket, char *bytes, size_t size, int *fd)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { bytes, size };
	struct msghdr message = { 0 };
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = &control;
	message.msg_controllen = sizeof control;
	*fd = -1;
	ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return -1;
	struct cmsghdr *item = CMSG_FIRSTHDR(&message);
	if (item && item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS &&
		item->cmsg_len >= CMSG_LEN(sizeof *fd))
		memcpy(fd, CMSG_DATA(item), sizeof *fd);
	return length;
}
