#include "protocol.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

int frame_parse(const uint8_t *data, size_t length, struct frame *frame)
{
	if (length < FRAME_HEADER)
		return 0;
	frame->length = get_u32(data);
	frame->type = get_u16(data + 4);
	frame->tag = get_u16(data + 6);
	frame->payload = data + FRAME_HEADER;
	if (frame->length > REQUEST_MAX)
		return -1;
	return length - FRAME_HEADER >= frame->length ? 1 : 0;
}

uint16_t hello_version(const struct frame *frame)
{
	if (frame->length < 4)
		return 0;
	uint16_t min = get_u16(frame->payload);
	uint16_t max = get_u16(frame->payload + 2);
	uint16_t version = max < PROTOCOL_MAX ? max : PROTOCOL_MAX;
	return version >= min && version >= PROTOCOL_MIN ? version : 0;
}

void channel_open(struct channel *channel, int fd)
{
	channel->fd = fd;
	channel->version = 0;
	channel->in_length = 0;
	channel->out_length = 0;
	channel->fd_count = 0;
}

void channel_close(struct channel *channel)
{
	if (channel->fd >= 0)
		close(channel->fd);
	channel->fd = -1;
	for (size_t i = 0; i < channel->fd_count; i++)
		close(channel->fds[i]);
	channel->fd_count = 0;
}

/* Keeps every descriptor of a message, or closes them all and fails. */
static bool collect_fds(struct channel *channel, struct msghdr *message)
{
	bool whole = (message->msg_flags & MSG_CTRUNC) == 0;
	/* The kernel gives at most one item of descriptors, and none of another kind unless asked. */
	struct cmsghdr *item = CMSG_FIRSTHDR(message);
	if (item && item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS) {
		size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
			if (channel->fd_count < CHANNEL_FDS_MAX)
				channel->fds[channel->fd_count++] = fd;
			else {
				close(fd);
				whole = false;
			}
		}
	}
	return whole;
}

bool channel_read(struct channel *channel)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
	} control;
	if (channel->in_length == sizeof channel->in)
		return true;
	struct iovec part = { channel->in + channel->in_length, sizeof channel->in - channel->in_length };
	struct msghdr message = { 0 };
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = &control;
	message.msg_controllen = sizeof control;
	ssize_t length = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return errno == EAGAIN || errno == EINTR;
	channel->in_length += (size_t)length;
	return collect_fds(channel, &message) && length > 0;
}

int channel_next(struct channel *channel, struct frame *frame)
{
	return frame_parse(channel->in, channel->in_length, frame);
}

void channel_consume(struct channel *channel, const struct frame *frame)
{
	size_t used = FRAME_HEADER + (size_t)frame->length;
	channel->in_length -= used;
	memmove(channel->in, channel->in + used, channel->in_length);
}

int channel_take_fd(struct channel *channel)
{
	if (channel->fd_count == 0)
		return -1;
	int fd = channel->fds[0];
	channel->fd_count--;
	memmove(channel->fds, channel->fds + 1, channel->fd_count * sizeof(int));
	return fd;
}

bool channel_flush(struct channel *channel)
{
	size_t done = 0;
	bool alive = true;
	while (done < channel->out_length) {
		ssize_t length = send(channel->fd, channel->out + done, channel->out_length - done,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (length < 0) {
			alive = errno == EAGAIN || errno == EINTR;
			break;
		}
		done += (size_t)length;
	}
	channel->out_length -= done;
	if (done > 0 && channel->out_length > 0)
		memmove(channel->out, channel->out + done, channel->out_length);
	return alive;
}

static void put_header(uint8_t *at, uint16_t type, uint16_t tag, size_t length)
{
	put_u32(at, (uint32_t)length);
	put_u16(at + 4, type);
	put_u16(at + 6, tag);
}

bool channel_send(struct channel *channel, uint16_t type, uint16_t tag, const uint8_t *payload, size_t length)
{
	if (FRAME_HEADER + length > sizeof channel->out - channel->out_length)
		return false;
	put_header(channel->out + channel->out_length, type, tag, length);
	if (length > 0)
		memcpy(channel->out + channel->out_length + FRAME_HEADER, payload, length);
	channel->out_length += FRAME_HEADER + length;
	return channel_flush(channel);
}

bool channel_send_text(struct channel *channel, uint16_t type, uint16_t tag, const char *text)
{
	return channel_send(channel, type, tag, (const uint8_t *)text, strlen(text));
}

bool channel_send_fd(struct channel *channel, uint16_t type, uint16_t tag, int fd)
{
	union {
		struct cmsghdr aligned;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	uint8_t header[FRAME_HEADER];
	if (channel->out_length > 0)
		return false;
	put_header(header, type, tag, 0);
	memset(&control, 0, sizeof control);
	struct iovec part = { header, sizeof header };
	struct msghdr message = { 0 };
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = &control;
	message.msg_controllen = sizeof control;
	struct cmsghdr *item = CMSG_FIRSTHDR(&message);
	item->cmsg_level = SOL_SOCKET;
	item->cmsg_type = SCM_RIGHTS;
	item->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(item), &fd, sizeof fd);
	return sendmsg(channel->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof header;
}

bool channel_send_hello(struct channel *channel)
{
	uint8_t payload[8];
	put_u16(payload, PROTOCOL_MIN);
	put_u16(payload + 2, PROTOCOL_MAX);
	put_u32(payload + 4, (uint32_t)getpid());
	return channel_send(channel, REPLY_HELLO, 0, payload, sizeof payload);
}

void channel_refuse(struct channel *channel, const char *text)
{
	char rest[1024];
	struct pollfd wait = { .fd = channel->fd, .events = POLLIN };
	channel_send_text(channel, REPLY_ERROR, 0, text);
	shutdown(channel->fd, SHUT_WR);
	while (poll(&wait, 1, 1000) > 0 && recv(channel->fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
		continue;
}
