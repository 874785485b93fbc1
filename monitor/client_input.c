/* The clients' way in: reading, detach keys, and the container's stdin. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"

#define IN_MAX 65536
#define READ_MAX (IN_MAX - DETACH_KEYS_MAX)

static uint8_t in_buffers[CLIENTS_MAX][IN_MAX];
static uint8_t scratch[READ_MAX];

static bool has_input(const struct client *client)
{
	return client->in_used < client->in_length;
}

bool client_reads(const struct clients *clients, const struct client *client)
{
	if (!client->wants_input || client->input_ended || has_input(client))
		return false;
	return client->pending >= 0 || !clients->close_input;
}

static void end_input(struct clients *clients, struct client *client)
{
	client->input_ended = true;
	if (clients->stdin_once)
		clients->close_input = true;
}

static void close_pending(struct client *client)
{
	if (client->pending >= 0)
		close(client->pending);
	client->pending = -1;
}

/* Bytes that the daemon had read come first; 0 at the end of the socket, -1 when there is nothing now. */
static ssize_t take(struct client *client, uint8_t *to)
{
	if (client->pending >= 0) {
		ssize_t length = pread(client->pending, to, READ_MAX, client->pending_offset);
		if (length > 0) {
			client->pending_offset += length;
			return length;
		}
		close_pending(client);
	}
	ssize_t length = recv(client->fd, to, READ_MAX, MSG_DONTWAIT);
	if (length < 0 && errno != EAGAIN && errno != EINTR)
		return 0;
	return length;
}

void client_read(struct clients *clients, size_t index)
{
	struct client *client = &clients->table[index];
	uint8_t *in = in_buffers[index];
	bool detached = false;
	ssize_t length = take(client, client->keys.length > 0 ? scratch : in);
	if (length < 0)
		return;
	client->in_used = 0;
	client->in_length = (size_t)length;
	if (length == 0) {
		client->in_length = detach_rest(&client->keys, in);
		end_input(clients, client);
	} else if (client->keys.length > 0)
		client->in_length = detach_filter(&client->keys, scratch, (size_t)length, in, &detached);
	if (detached)
		client_leave(clients, index, true);
}

/* The unread bytes go first: closing over them would reset the peer, which then loses the end of its output. */
static void hang_up(struct client *client)
{
	shutdown(client->fd, SHUT_RDWR);
	for (int reads = 0; reads < 64; reads++)
		if (recv(client->fd, scratch, sizeof scratch, MSG_DONTWAIT) <= 0)
			break;
	close(client->fd);
}

static void forget(struct clients *clients, struct client *client)
{
	close_pending(client);
	client->used = false;
	clients->count--;
}

static void stop_output(struct client *client)
{
	client->wants[STREAM_STDOUT] = client->wants[STREAM_STDERR] = false;
	client->behind = false;
	client->out_length = client->out_used = 0;
	log_reader_close(&client->reader);
}

void client_lost(struct clients *clients, size_t index)
{
	struct client *client = &clients->table[index];
	stop_output(client);
	if (client->wants_input && !client->input_ended)
		client->hung = true;
	else
		client_leave(clients, index, false);
}

void client_leave(struct clients *clients, size_t index, bool detached)
{
	struct client *client = &clients->table[index];
	if (!client->gone) {
		client->gone = true;
		stop_output(client);
		if (detached) {
			client->input_ended = true;
			close_pending(client);
		} else if (client->wants_input && !client->input_ended)
			end_input(clients, client);
		hang_up(client);
		if (clients->left)
			clients->left(clients->context, detached);
	}
	if (!has_input(client))
		forget(clients, client);
}

bool clients_have_input(const struct clients *clients)
{
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++)
		if (clients->table[i].used && has_input(&clients->table[i]))
			return true;
	return false;
}

/* False when stdin takes no more now. */
static bool write_one(struct client *client, const uint8_t *in, struct streams *streams)
{
	while (has_input(client)) {
		if (streams->input_closed) {
			client->in_used = client->in_length;
			break;
		}
		ssize_t length = streams->input < 0 ? -1
			: write(streams->input, in + client->in_used, client->in_length - client->in_used);
		if (length < 0) {
			if (streams->input < 0 || errno == EAGAIN || errno == EINTR)
				return false;
			/* The container closed its stdin: the rest has no reader. */
			streams_close_input(streams);
			continue;
		}
		client->in_used += (size_t)length;
	}
	return true;
}

/* One that needs no poll: input that the daemon had read, or of a peer that is gone, whose end is near. */
static bool reads_at_once(const struct clients *clients, const struct client *client)
{
	return (client->pending >= 0 || client->hung) && client_reads(clients, client);
}

/* Returns false when stdin takes no more now; `*more` is set where this client has more at once. */
static bool move_one(struct clients *clients, size_t index, struct streams *streams, bool *more)
{
	struct client *client = &clients->table[index];
	if (reads_at_once(clients, client))
		client_read(clients, index);
	if (!client->used)
		return true;
	if (!write_one(client, in_buffers[index], streams))
		return false;
	if (client->gone)
		forget(clients, client);
	else if (client->hung && !client_reads(clients, client))
		client_leave(clients, index, false);
	else if (reads_at_once(clients, client))
		*more = true;
	return true;
}

bool clients_write_input(struct clients *clients, struct streams *streams)
{
	bool more = false;
	bool delivered = true;
	for (size_t i = 0; clients->count > 0 && i < CLIENTS_MAX; i++)
		if (clients->table[i].used && !move_one(clients, i, streams, &more))
			delivered = false;
	if (clients->close_input && delivered && !more)
		streams_close_input(streams);
	return more;
}
