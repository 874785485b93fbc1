/* Unix sockets named relative to a directory's descriptor, so that no path is too long for them. */
#ifndef BERTH_UNIX_SOCKET_H
#define BERTH_UNIX_SOCKET_H

#include <stddef.h>
#include <sys/types.h>

/* A listening stream socket, nonblocking, mode 0600; one that is left there is replaced. -1 and errno. */
int unix_listen(int directory, const char *name);

/* One message's bytes and at most one descriptor (-1 if none came); recvmsg's result. */
ssize_t unix_receive_fd(int socket, char *bytes, size_t size, int *fd);

#endif
