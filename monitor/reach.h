/* Looks at a path for the daemon, which must never hang: one path, then the end. */
#ifndef BERTH_REACH_H
#define BERTH_REACH_H

/*
 * Says on stdout what stat(2) gives: 0, or the errno. With `make` a missing
 * directory is made first, with its parents. Ends with its parent.
 */
int reach_main(const char *path, int make);

#endif
