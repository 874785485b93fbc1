/* The descriptor store: keeps listening sockets while no daemon is there. */
#ifndef BERTH_HOLD_H
#define BERTH_HOLD_H

/*
 * The mode `hold`: enters the cgroups (ended by NULL) and serves <directory>/holder.sock; the first connection
 * comes on HOLD_CONTROL_FD.
 */
int hold_main(const char *directory, char **cgroups);

#endif
