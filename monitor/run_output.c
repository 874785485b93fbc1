/* The container's output: read in batches, given to the live clients, logged. */
#include <errno.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "run.h"

static uint8_t batch[BATCH_MAX];

/* Without a log nothing may be lost, so the slowest client sets the pace; so it does by Docker's rule. */
static bool follows_slowest(const struct run *run)
{
	return run->spec.block_on_slow || !log_is_on(&run->log);
}

bool run_wants_output(const struct run *run, enum stream stream)
{
	if (run->phase != PHASE_RUNNING || run->held || run->streams.output[stream] < 0)
		return false;
	return !follows_slowest(run) || !clients_lag(&run->clients, stream);
}

static void announce_log(struct run *run)
{
	uint8_t payload[8];
	if (run->log.rotated) {
		run->log.rotated = false;
		put_u64(payload, run->log.sequence);
		control_event(run, EVENT_ROTATED, payload, sizeof payload);
	}
	if (log_is_on(&run->log) && log_has_grown(&run->log)) {
		put_u64(payload, run->log.size);
		control_event(run, EVENT_LOG_GROWN, payload, sizeof payload);
	}
}

/*
 * The log is JSON and cannot give back bytes that are not UTF-8. Clients that are
 * behind would get them garbled from there, so such a batch waits until all are live.
 */
static bool must_hold(const struct run *run)
{
	return log_is_on(&run->log) && clients_lag(&run->clients, run->batch_stream) &&
	       line_is_lossy(&run->log.part[run->batch_stream], batch, run->batch_length);
}

static void deliver(struct run *run)
{
	run->held = must_hold(run);
	if (run->held)
		return;
	clients_offer(&run->clients, &run->log, run->batch_stream, batch, run->batch_length);
	log_feed(&run->log, run->batch_stream, batch, run->batch_length);
}

/* The stream is over: its last line, which has no newline, is logged as it is. */
static void end_stream(struct run *run, enum stream stream)
{
	const struct line_part *part = &run->log.part[stream];
	if (run->ended[stream] || run->streams.output[stream] >= 0 || run->held)
		return;
	if (log_is_on(&run->log) && clients_lag(&run->clients, stream) && line_ends_lossy(part))
		return;
	log_end(&run->log, stream);
	run->ended[stream] = true;
}

void run_read_output(struct run *run, enum stream stream)
{
	if (!run_wants_output(run, stream))
		return;
	ssize_t length = read(run->streams.output[stream], batch, sizeof batch);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	run->drain_moved = clock_mono_ms();
	if (length <= 0) {
		/* A pty says EIO where a pipe says end. */
		streams_close_output(&run->streams, stream);
		return;
	}
	run->batch_stream = stream;
	run->batch_length = (size_t)length;
	deliver(run);
}

void run_deliver_held(struct run *run)
{
	if (run->held)
		deliver(run);
	if (run->phase == PHASE_RUNNING) {
		end_stream(run, STREAM_STDOUT);
		end_stream(run, STREAM_STDERR);
	}
	announce_log(run);
}

bool run_output_ended(const struct run *run)
{
	return run->ended[STREAM_STDOUT] && run->ended[STREAM_STDERR];
}

void run_abandon_output(struct run *run)
{
	streams_close_output(&run->streams, STREAM_STDOUT);
	streams_close_output(&run->streams, STREAM_STDERR);
	run_deliver_held(run);
}
