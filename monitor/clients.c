#include "clients.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"

#define OUT_MAX (BATCH_MAX + 4096)
/* Refills of one client in one turn of the loop, and lines of one refill: wanted ones or not. */
#define FILLS_A_TURN 4
#define LINES_A_FILL 4096

static const char cut_message[] = "[berth] output was lost: the log was rotated away before this client had read it\n";

static uint8_t out_buffers[CLIENTS_MAX][OUT_MAX] __attribute__((aligned(4096)));

struct client *clients_add(struct clients *clients, int fd, int pending)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &clients->table[i];
		if (client->used)
			continue;
		memset(client, 0, sizeof *client);
		client->used = true;
		client->fd = fd;
		client->pending = pending;
		client->reader.fd = -1;
		client->progress_at = clock_mono_ms();
		clients->count++;
		return client;
	}
	return NULL;
}

static bool has_output(const struct client *client)
{
	return client->out_used < client->out_length;
}

bool clients_lag(const struct clients *clients, enum stream stream)
{
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++) {
		const struct client *client = &clients->table[i];
		if (client->used && client->wants[stream] && (client->behind || has_output(client)))
			return true;
	}
	return false;
}

static size_t put_frame_header(const struct client *client, enum stream stream, size_t length, uint8_t *to)
{
	if (!client->framed)
		return 0;
	memset(to, 0, 4);
	to[0] = stream == STREAM_STDOUT ? 1 : 2;
	to[4] = (uint8_t)(length >> 24);
	to[5] = (uint8_t)(length >> 16);
	to[6] = (uint8_t)(length >> 8);
	to[7] = (uint8_t)length;
	return STREAM_HEADER;
}

static uint8_t *out_of(const struct clients *clients, const struct client *client)
{
	return out_buffers[client - clients->table];
}

static void queue(struct clients *clients, struct client *client, const struct log_text *text)
{
	uint8_t *out = out_of(clients, client);
	client->out_length += put_frame_header(client, text->stream, text->length, out + client->out_length);
	memcpy(out + client->out_length, text->text, text->length);
	client->out_length += text->length;
}

/* False when the client is gone. */
static bool send_queued(struct clients *clients, struct client *client)
{
	uint8_t *out = out_of(clients, client);
	bool touched = client->out_length > 4096;
	while (has_output(client)) {
		ssize_t sent = send(client->fd, out + client->out_used, client->out_length - client->out_used,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN || errno == EINTR;
		client->out_used += (size_t)sent;
		client->progress_at = clock_mono_ms();
	}
	client->out_used = client->out_length = 0;
	/* A client that keeps up needs no buffer: give the pages back. */
	if (touched && !client->behind)
		madvise(out, OUT_MAX & ~(size_t)4095, MADV_DONTNEED);
	return true;
}

/* Sends straight from the batch; what the socket does not take is queued. False when the client is gone. */
static bool send_batch(struct clients *clients, struct client *client, const struct log_text *text)
{
	uint8_t header[STREAM_HEADER];
	size_t header_length = put_frame_header(client, text->stream, text->length, header);
	struct iovec parts[2] = { { header, header_length }, { NULL, text->length } };
	memcpy(&parts[1].iov_base, &text->text, sizeof text->text);
	struct msghdr message = { 0 };
	message.msg_iov = parts;
	message.msg_iovlen = 2;
	ssize_t sent = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	size_t done = sent > 0 ? (size_t)sent : 0;
	client->progress_at = clock_mono_ms();
	if (done == header_length + text->length)
		return true;
	queue(clients, client, text);
	client->out_used = done;
	return true;
}

static void fall_behind(struct client *client, const struct log *log)
{
	client->behind = true;
	log_reader_start_here(&client->reader, log);
	for (size_t stream = 0; stream < STREAM_COUNT; stream++)
		client->reader.skip[stream] = log->part[stream].length;
}

void clients_offer(struct clients *clients, const struct log *log, enum stream stream, const uint8_t *data,
	size_t length)
{
	const struct log_text text = { stream, data, length };
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++) {
		struct client *client = &clients->table[i];
		if (!client->used || client->behind || !client->wants[stream])
			continue;
		if (has_output(client) && log_is_on(log))
			fall_behind(client, log);
		else if (!send_batch(clients, client, &text))
			client_lost(clients, i);
	}
}

static void cut(struct clients *clients, size_t index)
{
	struct client *client = &clients->table[index];
	const struct log_text text = { STREAM_STDERR, (const uint8_t *)cut_message, sizeof cut_message - 1 };
	client->cut = true;
	client->behind = false;
	client->wants[STREAM_STDOUT] = client->wants[STREAM_STDERR] = false;
	log_reader_close(&client->reader);
	if (client->framed)
		queue(clients, client, &text);
}

/* The client has read the log to its end: what has no newline yet comes from memory, and it is live again. */
static void catch_up(struct clients *clients, struct client *client, const struct log *log)
{
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		const struct line_part *part = &log->part[i];
		size_t skip = client->reader.skip[i];
		struct log_text text = { (enum stream)i, part->text + skip, part->length - skip };
		if (client->wants[i] && part->length > skip)
			queue(clients, client, &text);
	}
	client->behind = false;
	log_reader_close(&client->reader);
}

/* Fills an empty buffer from the log. False when the client's place in it is lost. */
static bool fill(struct clients *clients, struct client *client, const struct log *log)
{
	struct log_text text;
	for (int lines = 0; lines < LINES_A_FILL && client->out_length < OUT_MAX / 2; lines++) {
		switch (log_reader_next(&client->reader, log, &text)) {
		case READ_LOST:
			return false;
		case READ_AT_END:
			/* The parts of both streams fit behind a buffer that is at most half full. */
			if (client->out_length + STREAM_COUNT * (LINE_MAX_BYTES + STREAM_HEADER) <= OUT_MAX)
				catch_up(clients, client, log);
			return true;
		case READ_LINE:
			if (client->wants[text.stream])
				queue(clients, client, &text);
		}
	}
	return true;
}

/* True if this client could go on at once. */
static bool pump_one(struct clients *clients, size_t index, const struct log *log)
{
	struct client *client = &clients->table[index];
	for (int fills = 0;; fills++) {
		if (!send_queued(clients, client)) {
			client_lost(clients, index);
			return false;
		}
		if (client->cut && !has_output(client))
			client_leave(clients, index, false);
		if (has_output(client) || !client->behind)
			return false;
		if (fills == FILLS_A_TURN)
			return true;
		if (!fill(clients, client, log))
			cut(clients, index);
	}
}

bool clients_pump(struct clients *clients, const struct log *log)
{
	bool more = false;
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++) {
		const struct client *client = &clients->table[i];
		if (client->used && (client->behind || client->cut || has_output(client)))
			more |= pump_one(clients, i, log);
	}
	return more;
}

void clients_finish(struct clients *clients, const struct log *log)
{
	clients_pump(clients, log);
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++) {
		struct client *client = &clients->table[i];
		client->in_length = client->in_used = 0;
		if (client->used && !client->behind && !has_output(client))
			client_leave(clients, i, false);
	}
}

void clients_cut_stalled(struct clients *clients, int64_t from, int64_t now)
{
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++) {
		struct client *client = &clients->table[i];
		int64_t since = client->progress_at > from ? client->progress_at : from;
		if (client->used && has_output(client) && now - since >= STALL_LIMIT_MS)
			client_leave(clients, i, false);
	}
}

void clients_drop_all(struct clients *clients)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		clients->table[i].in_length = clients->table[i].in_used = 0;
		if (clients->table[i].used)
			client_leave(clients, i, false);
	}
}

void clients_poll(const struct clients *clients, struct poll_set *set)
{
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++) {
		const struct client *client = &clients->table[i];
		if (!client->used || client->gone || client->hung)
			continue;
		short events = has_output(client) ? POLLOUT : 0;
		if (client_reads(clients, client))
			events |= POLLIN;
		poll_add(set, client->fd, events, POLL_CLIENT, i);
	}
}

void clients_event(struct clients *clients, size_t index, short events)
{
	struct client *client = &clients->table[index];
	if (!client->used || client->gone)
		return;
	if ((events & POLLIN) && client_reads(clients, client))
		client_read(clients, index);
	if (client->used && (events & (POLLHUP | POLLERR)))
		client_lost(clients, index);
}
