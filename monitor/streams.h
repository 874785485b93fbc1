/* The container's standard streams: pipes, or a pty that the runtime sends over a console socket. */
#ifndef BERTH_STREAMS_H
#define BERTH_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "log_line.h"
#include "spec.h"

struct streams {
	/* Ours: where stdin goes; -1 when closed or not there yet. */
	int input;
	/* Ours: stdout and stderr; a pty has only the first. */
	int output[STREAM_COUNT];
	/* The container's ends, closed once the runtime has them. */
	int child[3];
	/* Only with a terminal, until the pty has come. */
	int console_listener;
	int console_connection;
	char console_path[256];
	bool terminal;
	bool input_closed;
	uint16_t columns;
	uint16_t rows;
};

/* Makes them; `directory` is the run directory's descriptor. 0, or -1 and errno. */
int streams_open(struct streams *streams, const struct spec *spec, int directory);

/* Closes what belongs to the container. */
void streams_close_child(struct streams *streams);

/* The console socket is readable: accepts, then takes the pty. 1 when the pty is here, 0 not yet, -1 failed. */
int streams_take_console(struct streams *streams);

void streams_resize(struct streams *streams, uint16_t columns, uint16_t rows);

/* Stdin is closed for good; a pty is left open, as it is the output as well. */
void streams_close_input(struct streams *streams);

void streams_close_output(struct streams *streams, enum stream stream);

#endif
