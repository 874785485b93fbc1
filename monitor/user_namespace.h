/* User namespaces for the daemon, which cannot enter one itself: it has threads. */
#ifndef BERTH_USER_NAMESPACE_H
#define BERTH_USER_NAMESPACE_H

#include <stdbool.h>

/*
 * Enters a new user namespace, or that of a path, and with `network` a new
 * network namespace, which that one owns. Says on stdout how it went: 0, or
 * the errno. Stays until its input ends, so that the namespaces can be given
 * maps, opened and pinned; ends with its parent.
 */
int user_namespace_main(bool network, const char *owner);

#endif
