/* A container's first process for --init: forwards signals, reaps, ends as its command ends. */
#ifndef BERTH_INIT_H
#define BERTH_INIT_H

/* Options and a leading "--" are skipped; the rest is the command, ended by NULL. */
int init_main(char **arguments);

#endif
