/* What a runtime sees of the host's mounts: all but those that the daemon hides as unbindable. */
#ifndef BERTH_VIEW_H
#define BERTH_VIEW_H

#include "spec.h"

/*
 * In a process that shares its memory: enters a mount namespace with a copy of
 * what the host has mounted and is not hidden, and what the specification brings.
 * NULL, or what failed, with errno.
 */
const char *view_enter(const struct spec *spec);

/* The mode `bare`: prints 0 or the errno, and stays in a mount namespace with nothing in it until its input ends. */
int bare_main(void);

#endif
