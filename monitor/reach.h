/* Looks at a path for the daemon, which must never hang: one path, then the end. */
#ifndef BERTH_REACH_H
#define BERTH_REACH_H

/*
 * Says on stdout what stat(2) gives: 0, or the errno. Unless `owner_words` is
 * NULL, a missing directory is made first, with its parents: for the user and
 * the group that these two words tell, or for root where there are none. Ends
 * with its parent.
 */
int reach_main(const char *path, char **owner_words);

#endif
