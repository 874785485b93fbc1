/* What a daemon asks of a monitor, request by request. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "run.h"

enum attach_flag {
	ATTACH_STDIN = 1,
	ATTACH_STDOUT = 2,
	ATTACH_STDERR = 4,
	ATTACH_FRAMED = 8,
	ATTACH_PENDING = 16,
	/* Version 2: a log cursor follows. */
	ATTACH_FROM = 32
};

#define ATTACH_FIXED 4

/* Of a fork request: the runtime's program comes with it. */
#define FORK_SEALED_RUNTIME 1

static void answer(struct channel *channel, uint16_t tag, const char *error)
{
	if (error)
		control_send(channel, REPLY_ERROR, tag, (const uint8_t *)error, strlen(error));
	else
		control_send(channel, REPLY_OK, tag, NULL, 0);
}

static void set_client(struct run *run, struct client *client, const struct frame *frame, unsigned flags)
{
	const uint8_t *at = frame->payload + ATTACH_FIXED;
	client->wants[STREAM_STDOUT] = flags & ATTACH_STDOUT;
	client->wants[STREAM_STDERR] = flags & ATTACH_STDERR;
	client->wants_input = flags & ATTACH_STDIN;
	client->framed = flags & ATTACH_FRAMED;
	if (flags & ATTACH_FROM) {
		client->behind = log_is_on(&run->log);
		if (client->behind)
			log_reader_start(&client->reader, get_u64(at), get_u64(at + 8));
		at += 16;
	}
	client->keys.length = frame->payload[1];
	memcpy(client->keys.keys, at, client->keys.length);
}

static const char *attach(struct run *run, const struct frame *frame, int fd, int pending)
{
	const unsigned known = PROTOCOL_MAX >= PROTOCOL_LOG_CURSOR ? ATTACH_FROM * 2 - 1 : ATTACH_FROM - 1;
	unsigned flags = frame->length >= ATTACH_FIXED ? frame->payload[0] : 0;
	size_t keys = frame->length >= ATTACH_FIXED ? frame->payload[1] : 0;
	if (frame->length != ATTACH_FIXED + keys + (flags & ATTACH_FROM ? 16u : 0u) || keys > DETACH_KEYS_MAX || flags > known)
		return "the attach request is malformed";
	if (run->phase == PHASE_FAILED)
		return "nothing runs: the runtime refused to start the process";
	struct client *client = clients_add(&run->clients, fd, pending);
	if (!client)
		return "too many clients are attached; let one of them leave first";
	set_client(run, client, frame, flags);
	return NULL;
}

static void handle_attach(struct run *run, struct channel *channel, const struct frame *frame)
{
	bool has_pending = frame->length > 0 && (frame->payload[0] & ATTACH_PENDING);
	int fd = channel_take_fd(channel);
	int pending = has_pending ? channel_take_fd(channel) : -1;
	const char *error = fd < 0 || (has_pending && pending < 0) ? "an attach request came without its descriptor"
									 : attach(run, frame, fd, pending);
	if (error) {
		if (fd >= 0)
			close(fd);
		if (pending >= 0)
			close(pending);
	}
	answer(channel, frame->tag, error);
}

static void handle_wait(struct run *run, struct channel *channel, const struct frame *frame)
{
	int fd = channel_take_fd(channel);
	const char *error = NULL;
	if (fd < 0 || frame->length != 1 || frame->payload[0] > WAIT_REMOVED)
		error = "a wait request is malformed or came without its descriptor";
	else if (!waiters_add(&run->waiters, fd, frame->payload[0] == WAIT_REMOVED ? WAIT_REMOVED : WAIT_EXIT))
		error = "too many wait requests are open on this container";
	if (error && fd >= 0)
		close(fd);
	answer(channel, frame->tag, error);
	if (!error && run->phase >= PHASE_EXITED)
		waiters_answer(&run->waiters, WAIT_EXIT, run->code);
}

static void handle_start(struct run *run, struct channel *channel, const struct frame *frame)
{
	if (run->phase != PHASE_NEW) {
		answer(channel, frame->tag, "this monitor has already started its process");
		return;
	}
	run->starter = channel;
	run->start_tag = frame->tag;
	run_start(run);
}

static void handle_resize(struct run *run, struct channel *channel, const struct frame *frame)
{
	if (frame->length != 4) {
		answer(channel, frame->tag, "the resize request is malformed");
		return;
	}
	streams_resize(&run->streams, get_u16(frame->payload), get_u16(frame->payload + 2));
	answer(channel, frame->tag, NULL);
}

static void handle_rotate(struct run *run, struct channel *channel, const struct frame *frame)
{
	const char *error = NULL;
	if (log_is_on(&run->log) && log_rotate(&run->log, true) < 0)
		error = strerror(errno);
	answer(channel, frame->tag, error);
}

/* Clients of a failed start are kept until the release, so that they can be told why. */
static void handle_say(struct run *run, struct channel *channel, const struct frame *frame)
{
	if (PROTOCOL_MAX < PROTOCOL_LOG_CURSOR || frame->length < 2 || frame->payload[0] > STREAM_STDERR) {
		answer(channel, frame->tag, "the say request is malformed");
		return;
	}
	if (run->phase != PHASE_FAILED || log_is_on(&run->log)) {
		answer(channel, frame->tag, "only clients of an exec that could not be started are spoken to");
		return;
	}
	clients_offer(&run->clients, &run->log, (enum stream)frame->payload[0], frame->payload + 1, frame->length - 1);
	answer(channel, frame->tag, NULL);
}

static void handle_release(struct run *run, struct channel *channel, const struct frame *frame)
{
	if (run->phase == PHASE_STARTING || run->phase == PHASE_RUNNING) {
		answer(channel, frame->tag, "the process still runs; a monitor is released after its exit");
		return;
	}
	run->released = true;
	answer(channel, frame->tag, NULL);
}

static void handle_fork(struct channel *channel, const struct frame *frame)
{
	char text[128];
	int spec = channel_take_fd(channel);
	int control = channel_take_fd(channel);
	bool sealed = frame->length == 1 && frame->payload[0] == FORK_SEALED_RUNTIME;
	int runtime = sealed ? channel_take_fd(channel) : -1;
	if (PROTOCOL_MAX < PROTOCOL_FORK || spec < 0 || control < 0 || (sealed && runtime < 0)) {
		for (size_t i = 0; i < 3; i++)
			if ((const int[]){ spec, control, runtime }[i] >= 0)
				close((const int[]){ spec, control, runtime }[i]);
		answer(channel, frame->tag, "a request for another monitor came without its descriptors");
		return;
	}
	if (run_fork(spec, control, runtime) > 0) {
		answer(channel, frame->tag, NULL);
		return;
	}
	format_text(text, sizeof text, "the monitor cannot make another process: %s", strerror(errno));
	answer(channel, frame->tag, text);
}

void request_handle(struct run *run, struct channel *channel, const struct frame *frame)
{
	switch (frame->type) {
	case REQUEST_NOP:
		break;
	case REQUEST_START:
		handle_start(run, channel, frame);
		break;
	case REQUEST_ATTACH:
		handle_attach(run, channel, frame);
		break;
	case REQUEST_WAIT:
		handle_wait(run, channel, frame);
		break;
	case REQUEST_REMOVED:
		waiters_answer(&run->waiters, WAIT_REMOVED, run->code);
		answer(channel, frame->tag, NULL);
		break;
	case REQUEST_RESIZE:
		handle_resize(run, channel, frame);
		break;
	case REQUEST_CLOSE_STDIN:
		run->clients.close_input = true;
		answer(channel, frame->tag, NULL);
		break;
	case REQUEST_ROTATE:
		handle_rotate(run, channel, frame);
		break;
	case REQUEST_SAY:
		handle_say(run, channel, frame);
		break;
	case REQUEST_FORK:
		handle_fork(channel, frame);
		break;
	case REQUEST_RELEASE:
		handle_release(run, channel, frame);
		break;
	default:
		answer(channel, frame->tag, "this monitor does not know the request");
	}
}
