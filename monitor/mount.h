/* Mounts for the daemon, which must never hang: one mount, then the end. */
#ifndef BERTH_MOUNT_H
#define BERTH_MOUNT_H

/*
 * Reads source, target, type, flags (decimal, of mount(2)) and data, each ended
 * by a zero, from stdin, where no other process of the host sees a password in
 * them. Says on stdout 0, or the errno. Nothing stays mounted of one that
 * fails half-way. Ends with its parent.
 */
int mount_main(void);

#endif
