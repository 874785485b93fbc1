/* The daemons' connections: accepted, greeted, told what happens. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "run.h"

static void drop(struct run *run, struct channel *channel)
{
	if (run->starter == channel)
		run->starter = NULL;
	channel_close(channel);
}

void control_send(struct channel *channel, uint16_t type, uint16_t tag, const uint8_t *payload, size_t length)
{
	/* A daemon that reads nothing is cut; it learns from the status when it comes again. */
	if (channel->fd >= 0 && !channel_send(channel, type, tag, payload, length))
		shutdown(channel->fd, SHUT_RDWR);
}

void control_adopt(struct run *run, int fd)
{
	uint8_t payload[8 + 256];
	size_t id_length = strnlen(run->spec.id, 256);
	for (size_t i = 0; i < CONTROLS_MAX; i++) {
		struct channel *channel = &run->controls[i];
		if (channel->fd >= 0)
			continue;
		channel_open(channel, fd);
		put_u16(payload, PROTOCOL_MIN);
		put_u16(payload + 2, PROTOCOL_MAX);
		put_u32(payload + 4, (uint32_t)getpid());
		memcpy(payload + 8, run->spec.id, id_length);
		control_send(channel, REPLY_HELLO, 0, payload, 8 + id_length);
		return;
	}
	close(fd);
}

void control_accept(struct run *run)
{
	int fd = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		control_adopt(run, fd);
}

size_t control_status(const struct run *run, uint8_t *payload)
{
	put_u32(payload, (uint32_t)run->phase);
	put_u32(payload + 4, (uint32_t)run->pid);
	put_u64(payload + 8, run->started_at);
	put_u32(payload + 16, run->oom.noticed || run->oom.killed ? 1 : 0);
	if (run->phase < PHASE_EXITED)
		return STATUS_FIXED;
	struct exit_record record = run_exit_record(run);
	return STATUS_FIXED + exit_record_encode(&record, payload + STATUS_FIXED);
}

static void send_status(struct run *run, struct channel *channel, uint16_t tag)
{
	static uint8_t payload[STATUS_MAX];
	control_send(channel, REPLY_STATUS, tag, payload, control_status(run, payload));
}

static void greet(struct run *run, struct channel *channel, const struct frame *frame)
{
	channel->version = frame->type == REQUEST_HELLO ? hello_version(frame) : 0;
	if (channel->version != 0) {
		send_status(run, channel, 0);
		return;
	}
	channel_send_text(channel, REPLY_ERROR, frame->tag, "this monitor speaks other versions of the protocol");
	shutdown(channel->fd, SHUT_RDWR);
}

void control_read(struct run *run, size_t index)
{
	struct channel *channel = &run->controls[index];
	struct frame frame;
	bool open = channel_read(channel);
	int found;
	while ((found = channel_next(channel, &frame)) == 1) {
		if (channel->version == 0)
			greet(run, channel, &frame);
		else if (frame.type == REQUEST_STATUS)
			send_status(run, channel, frame.tag);
		else
			request_handle(run, channel, &frame);
		channel_consume(channel, &frame);
	}
	if (!open || found < 0)
		drop(run, channel);
}

void control_flush(struct run *run, size_t index)
{
	if (!channel_flush(&run->controls[index]))
		drop(run, &run->controls[index]);
}

void control_event(struct run *run, uint16_t type, const uint8_t *payload, size_t length)
{
	for (size_t i = 0; i < CONTROLS_MAX; i++) {
		struct channel *channel = &run->controls[i];
		if (channel->fd < 0 || channel->version == 0)
			continue;
		if (type == EVENT_ENDED && channel->version < PROTOCOL_ENDED_EVENT)
			continue;
		if (type == EVENT_LOG_GROWN && channel->version < PROTOCOL_LOG_GROWN)
			continue;
		control_send(channel, type, 0, payload, length);
	}
}
