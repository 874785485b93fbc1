/*
 * Frames between the daemon and a monitor or the holder; README.md has them byte by byte.
 * A channel is one connection: bounded buffers both ways, and the descriptors that came with its bytes.
 */
#ifndef BERTH_PROTOCOL_H
#define BERTH_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef BERTH_PROTOCOL
#define BERTH_PROTOCOL 4
#endif
#define PROTOCOL_MIN 1
#define PROTOCOL_MAX BERTH_PROTOCOL
/* Version 2 brought the ended event and a log cursor in attach requests. */
#define PROTOCOL_ENDED_EVENT 2
#define PROTOCOL_LOG_CURSOR 2
/* Version 3: a monitor of a container makes those of its execs. */
#define PROTOCOL_FORK 3
/* Version 4: how far the log has grown is told. */
#define PROTOCOL_LOG_GROWN 4

#define FRAME_HEADER 8
#define REQUEST_MAX 1024
#define CHANNEL_IN_MAX 4096
#define CHANNEL_OUT_MAX 32768
#define CHANNEL_FDS_MAX 8

enum request_type {
	REQUEST_HELLO = 0x01,
	REQUEST_START = 0x02,
	REQUEST_ATTACH = 0x03,
	REQUEST_WAIT = 0x04,
	REQUEST_REMOVED = 0x05,
	REQUEST_RESIZE = 0x06,
	REQUEST_CLOSE_STDIN = 0x07,
	REQUEST_ROTATE = 0x08,
	REQUEST_RELEASE = 0x09,
	REQUEST_NOP = 0x0a,
	REQUEST_STATUS = 0x0b,
	/* Version 2: words of the daemon's for the attached clients of a process that could not be started. */
	REQUEST_SAY = 0x0c,
	/* Version 3: makes another monitor. Descriptors: its specification, its first control connection. */
	REQUEST_FORK = 0x0d,
	HOLD_PUT = 0x21,
	HOLD_TAKE = 0x22,
	HOLD_LIST = 0x23,
	HOLD_DROP = 0x24,
	HOLD_DROP_PREFIX = 0x25,
	HOLD_LEAVING = 0x26
};

enum reply_type {
	REPLY_HELLO = 0x81,
	REPLY_STATUS = 0x82,
	REPLY_OK = 0x83,
	REPLY_ERROR = 0x84,
	EVENT_STARTED = 0x85,
	EVENT_EXITED = 0x86,
	EVENT_OOM = 0x87,
	EVENT_CLIENT_GONE = 0x88,
	EVENT_ROTATED = 0x89,
	EVENT_ENDED = 0x8a,
	EVENT_LOG_GROWN = 0x8b,
	HOLD_ITEM = 0xa1
};

/* One frame as it lies in a buffer; the payload is not copied. */
struct frame {
	uint16_t type;
	uint16_t tag;
	uint32_t length;
	const uint8_t *payload;
};

struct channel {
	int fd;
	/* 0 until the peer said hello. */
	uint16_t version;
	size_t in_length;
	size_t out_length;
	size_t fd_count;
	int fds[CHANNEL_FDS_MAX];
	uint8_t in[CHANNEL_IN_MAX];
	uint8_t out[CHANNEL_OUT_MAX];
};

/* Finds the first frame: 1 found, 0 more bytes are needed, -1 the bytes cannot be a frame. */
int frame_parse(const uint8_t *data, size_t length, struct frame *frame);

/* The version both sides speak, or 0. The payload is min, max as u16. */
uint16_t hello_version(const struct frame *frame);

void channel_open(struct channel *channel, int fd);
void channel_close(struct channel *channel);

/* Takes what has arrived; false at the end of the stream or on a failure. */
bool channel_read(struct channel *channel);

/* The next whole frame, as frame_parse; it is valid until channel_consume. */
int channel_next(struct channel *channel, struct frame *frame);
void channel_consume(struct channel *channel, const struct frame *frame);

/* The oldest descriptor that came with the bytes, owned by the caller; -1 if there is none. */
int channel_take_fd(struct channel *channel);

/* Queues a frame and writes what fits. False when the peer has not read for so long that it must be cut. */
bool channel_send(struct channel *channel, uint16_t type, uint16_t tag, const uint8_t *payload, size_t length);
bool channel_send_text(struct channel *channel, uint16_t type, uint16_t tag, const char *text);
/* A frame that carries a descriptor; fails unless everything before it is already written. */
bool channel_send_fd(struct channel *channel, uint16_t type, uint16_t tag, int fd);
bool channel_flush(struct channel *channel);

/*
 * Says why this process cannot serve, and waits until the peer has read it, at
 * most a second: to end with the peer's hello unread would reset the connection.
 */
void channel_refuse(struct channel *channel, const char *text);

/* Hello: min, max, and this process's pid. */
bool channel_send_hello(struct channel *channel);

#endif
