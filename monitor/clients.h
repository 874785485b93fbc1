/*
 * Attached clients. Output goes to all of them at once; one that cannot take it is
 * served from the log file at its own position, or holds the process back where
 * there is no log. Input of all goes to the container, in the order it came.
 */
#ifndef BERTH_CLIENTS_H
#define BERTH_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "detach_keys.h"
#include "log_reader.h"
#include "poll_set.h"
#include "streams.h"

#define CLIENTS_MAX 64
#define BATCH_MAX 65536
#define STREAM_HEADER 8
#define STALL_LIMIT_MS 30000

struct client {
	bool used;
	/* Closed; only input that was already read is still to be delivered. */
	bool gone;
	/* The peer has hung up, and its input is not yet read to the end; no longer polled. */
	bool hung;
	bool wants[STREAM_COUNT];
	bool wants_input;
	bool input_ended;
	bool framed;
	/* Served from the log at `reader`; else live. */
	bool behind;
	/* Its place in the log is lost: it gets what is queued, and goes. */
	bool cut;
	int fd;
	/* A file with input that the daemon had already read; -1 when used up. */
	int pending;
	off_t pending_offset;
	size_t in_length;
	size_t in_used;
	size_t out_length;
	size_t out_used;
	int64_t progress_at;
	struct detach_keys keys;
	struct log_reader reader;
};

struct clients {
	struct client table[CLIENTS_MAX];
	size_t count;
	bool stdin_once;
	/* Stdin is closed once all that was read is delivered. */
	bool close_input;
	/* Told of each client that left. */
	void (*left)(void *context, bool detached);
	void *context;
};

/* A free place, cleared, with the descriptors; NULL where all are taken. */
struct client *clients_add(struct clients *clients, int fd, int pending);

/* Whether any client of this stream has not yet got all that came before. */
bool clients_lag(const struct clients *clients, enum stream stream);

/* Gives a batch to the live clients; those that have no room go on from the log's end as it is now. */
void clients_offer(struct clients *clients, const struct log *log, enum stream stream, const uint8_t *data,
	size_t length);

/* Writes what is due; serves those behind. True if there is more to do at once. */
bool clients_pump(struct clients *clients, const struct log *log);

/* The process has ended and all is logged: lets those go who have everything. */
void clients_finish(struct clients *clients, const struct log *log);

/* Cuts those who took nothing for STALL_LIMIT_MS; `from` is when the limit began to count. */
void clients_cut_stalled(struct clients *clients, int64_t from, int64_t now);

void clients_drop_all(struct clients *clients);
void clients_poll(const struct clients *clients, struct poll_set *set);
void clients_event(struct clients *clients, size_t index, short events);

/* client_input.c */
bool client_reads(const struct clients *clients, const struct client *client);
void client_read(struct clients *clients, size_t index);
/* Moves input of all clients to the container; true if there is more to do at once. */
bool clients_write_input(struct clients *clients, struct streams *streams);
bool clients_have_input(const struct clients *clients);
/* The peer takes nothing more: ends the client, after its input where there is some. */
void client_lost(struct clients *clients, size_t index);
/* Ends a client; input that was read is still delivered. */
void client_leave(struct clients *clients, size_t index, bool detached);

#endif
