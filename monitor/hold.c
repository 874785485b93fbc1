#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "hold_table.h"
#include "poll_set.h"
#include "process.h"
#include "protocol.h"
#include "unix_socket.h"

#define HOLD_CONTROL_FD 3
#define DAEMONS_MAX 16
/* How long API sockets stay after a daemon that ended without a word. */
#define CRASH_KEEP_MS 120000

struct hold {
	int directory;
	int listener;
	int lock;
	/* Milliseconds for which API sockets stay once the last daemon is gone. */
	int64_t keep_ms;
	/* When they end; 0 while a daemon is there. */
	int64_t api_end;
	struct channel daemons[DAEMONS_MAX];
	/* A list that is being sent: the place from which it goes on, and what it asks for. */
	struct {
		bool active;
		uint16_t tag;
		size_t next;
		char prefix[HELD_NAME_MAX + 1];
	} lists[DAEMONS_MAX];
};

static struct hold the_hold;
static struct hold_table table;

static bool copy_name(const struct frame *frame, size_t skip, char name[HELD_NAME_MAX + 1])
{
	if (frame->length < skip || frame->length - skip > HELD_NAME_MAX)
		return false;
	size_t length = frame->length - skip;
	memcpy(name, frame->payload + skip, length);
	name[length] = '\0';
	return strlen(name) == length;
}

static bool answer(struct channel *channel, uint16_t tag, const char *error)
{
	return error ? channel_send_text(channel, REPLY_ERROR, tag, error) : channel_send(channel, REPLY_OK, tag, NULL, 0);
}

static bool put(struct channel *channel, const struct frame *frame)
{
	char name[HELD_NAME_MAX + 1];
	const char *error = NULL;
	int fd = channel_take_fd(channel);
	uint8_t class = frame->length > 0 ? frame->payload[0] : 0;
	if (fd < 0 || class < HELD_API || class > HELD_DNS || !copy_name(frame, 1, name) || name[0] == '\0')
		error = "the put request is malformed or came without its descriptor";
	else if (!held_put(&table, fd, class, name))
		error = "the descriptor store is full";
	if (error && fd >= 0)
		close(fd);
	return answer(channel, frame->tag, error);
}

static bool take(struct channel *channel, const struct frame *frame)
{
	char name[HELD_NAME_MAX + 1];
	const struct held *held = copy_name(frame, 0, name) ? held_find(&table, name) : NULL;
	if (!held)
		return answer(channel, frame->tag, "nothing is held under this name");
	return channel_send_fd(channel, REPLY_OK, frame->tag, held->fd);
}

/* As many items as there is room for; the rest when the peer has read. */
static bool go_on_listing(struct hold *hold, size_t index)
{
	struct channel *channel = &hold->daemons[index];
	size_t length = strlen(hold->lists[index].prefix);
	uint8_t payload[1 + HELD_NAME_MAX];
	while (hold->lists[index].next < table.count) {
		const struct held *held = &table.held[hold->lists[index].next];
		if (sizeof channel->out - channel->out_length < FRAME_HEADER * 2 + sizeof payload)
			return true;
		hold->lists[index].next++;
		if (strncmp(held->name, hold->lists[index].prefix, length) != 0)
			continue;
		size_t name_length = strlen(held->name);
		payload[0] = held->class;
		memcpy(payload + 1, held->name, name_length);
		if (!channel_send(channel, HOLD_ITEM, hold->lists[index].tag, payload, 1 + name_length))
			return false;
	}
	hold->lists[index].active = false;
	return answer(channel, hold->lists[index].tag, NULL);
}

static bool list(struct hold *hold, size_t index, const struct frame *frame)
{
	if (!copy_name(frame, 0, hold->lists[index].prefix))
		return answer(&hold->daemons[index], frame->tag, "the list request is malformed");
	hold->lists[index].active = true;
	hold->lists[index].tag = frame->tag;
	hold->lists[index].next = 0;
	return go_on_listing(hold, index);
}

static bool drop(struct channel *channel, const struct frame *frame)
{
	char name[HELD_NAME_MAX + 1];
	if (!copy_name(frame, 0, name))
		return answer(channel, frame->tag, "the drop request is malformed");
	held_drop(&table, name, frame->type == HOLD_DROP_PREFIX);
	return answer(channel, frame->tag, NULL);
}

static bool leaving(struct hold *hold, struct channel *channel, const struct frame *frame)
{
	if (frame->length != 4)
		return answer(channel, frame->tag, "the leaving request is malformed");
	hold->keep_ms = (int64_t)get_u32(frame->payload) * 1000;
	return answer(channel, frame->tag, NULL);
}

/* False when the connection is to be closed. */
static bool handle(struct hold *hold, size_t index, const struct frame *frame)
{
	struct channel *channel = &hold->daemons[index];
	if (channel->version == 0) {
		channel->version = frame->type == REQUEST_HELLO ? hello_version(frame) : 0;
		if (channel->version != 0)
			return answer(channel, frame->tag, NULL);
		answer(channel, frame->tag, "this descriptor store speaks other versions of the protocol");
		return false;
	}
	switch (frame->type) {
	case REQUEST_NOP:
		return true;
	case HOLD_PUT:
		return put(channel, frame);
	case HOLD_TAKE:
		return take(channel, frame);
	case HOLD_LIST:
		return list(hold, index, frame);
	case HOLD_DROP:
	case HOLD_DROP_PREFIX:
		return drop(channel, frame);
	case HOLD_LEAVING:
		return leaving(hold, channel, frame);
	default:
		return answer(channel, frame->tag, "this descriptor store does not know the request");
	}
}

static bool has_daemon(const struct hold *hold)
{
	for (size_t i = 0; i < DAEMONS_MAX; i++)
		if (hold->daemons[i].fd >= 0)
			return true;
	return false;
}

static void adopt(struct hold *hold, int fd)
{
	for (size_t i = 0; i < DAEMONS_MAX; i++) {
		if (hold->daemons[i].fd >= 0)
			continue;
		/* A daemon is back: what the last one said of its leaving is over. */
		if (!has_daemon(hold))
			hold->keep_ms = CRASH_KEEP_MS;
		hold->api_end = 0;
		channel_open(&hold->daemons[i], fd);
		hold->lists[i].active = false;
		channel_send_hello(&hold->daemons[i]);
		return;
	}
	close(fd);
}

static void close_daemon(struct hold *hold, size_t index)
{
	channel_close(&hold->daemons[index]);
	if (!has_daemon(hold))
		hold->api_end = clock_mono_ms() + hold->keep_ms;
}

static void read_daemon(struct hold *hold, size_t index)
{
	struct channel *channel = &hold->daemons[index];
	struct frame frame;
	bool open = channel_read(channel);
	int found;
	while ((found = channel_next(channel, &frame)) == 1) {
		bool keep = handle(hold, index, &frame);
		channel_consume(channel, &frame);
		if (!keep) {
			open = false;
			break;
		}
	}
	if (!open || found < 0)
		close_daemon(hold, index);
}

static void turn(struct hold *hold, const struct poll_set *set, size_t at)
{
	size_t index = set->who[at].index;
	if (set->who[at].kind == POLL_LISTENER) {
		int fd = accept4(hold->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			adopt(hold, fd);
		return;
	}
	if ((set->fds[at].revents & POLLOUT) &&
		(!channel_flush(&hold->daemons[index]) || (hold->lists[index].active && !go_on_listing(hold, index)))) {
		close_daemon(hold, index);
		return;
	}
	if (set->fds[at].revents & (POLLIN | POLLHUP | POLLERR))
		read_daemon(hold, index);
}

static int patience(const struct hold *hold)
{
	if (hold->api_end == 0 || !held_has_class(&table, HELD_API))
		return -1;
	int64_t left = hold->api_end - clock_mono_ms();
	return left > 0 ? (int)left + 1 : 0;
}

static void loop(struct hold *hold)
{
	static struct poll_set set;
	while (has_daemon(hold) || table.count > 0) {
		set.count = 0;
		poll_add(&set, hold->listener, POLLIN, POLL_LISTENER, 0);
		for (size_t i = 0; i < DAEMONS_MAX; i++) {
			bool out = hold->daemons[i].out_length > 0 || hold->lists[i].active;
			poll_add(&set, hold->daemons[i].fd, out ? POLLIN | POLLOUT : POLLIN, POLL_CHANNEL, i);
		}
		int ready = poll(set.fds, set.count, patience(hold));
		if (ready < 0 && errno != EINTR)
			return;
		for (size_t i = 0; ready > 0 && i < set.count; i++)
			if (set.fds[i].revents != 0)
				turn(hold, &set, i);
		if (hold->api_end != 0 && clock_mono_ms() >= hold->api_end)
			held_end_class(&table, HELD_API);
	}
}

/* One descriptor each: all that the kernel lets us have. */
static void raise_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static const char *be_born(struct hold *hold, const char *directory, char **cgroups)
{
	char score[16];
	for (size_t i = 0; i < DAEMONS_MAX; i++)
		hold->daemons[i].fd = -1;
	for (; *cgroups; cgroups++)
		if (enter_cgroup(*cgroups) < 0)
			return "the descriptor store cannot enter its cgroup";
	raise_limit();
	protect_from_oom(score, sizeof score);
	if (process_signals() < 0)
		return "the descriptor store cannot set up its signals";
	hold->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (hold->directory < 0)
		return "the descriptor store cannot open its directory";
	hold->lock = openat(hold->directory, "holder.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (hold->lock < 0)
		return "the descriptor store cannot open its lock";
	if (flock(hold->lock, LOCK_EX | LOCK_NB) < 0)
		return "another descriptor store serves this directory";
	hold->listener = unix_listen(hold->directory, "holder.sock");
	return hold->listener < 0 ? "the descriptor store cannot listen in its directory" : NULL;
}

int hold_main(const char *directory, char **cgroups)
{
	struct hold *hold = &the_hold;
	char path[4096];
	/* Before the working directory changes. */
	if (!format_text(path, sizeof path, "%s", directory) || process_detach(HOLD_CONTROL_FD) < 0)
		return 1;
	const char *error = be_born(hold, path, cgroups);
	if (error) {
		channel_open(&hold->daemons[0], HOLD_CONTROL_FD);
		channel_refuse(&hold->daemons[0], error);
		return 1;
	}
	set_nonblocking(HOLD_CONTROL_FD);
	adopt(hold, HOLD_CONTROL_FD);
	loop(hold);
	/* Still under the lock: who finds no socket can start another as soon as this process has ended. */
	unlinkat(hold->directory, "holder.sock", 0);
	return 0;
}
