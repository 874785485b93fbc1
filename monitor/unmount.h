/* Unmounts for the daemon, which must never hang: one mount point a line in, one answer a line out. */
#ifndef BERTH_UNMOUNT_H
#define BERTH_UNMOUNT_H

/* Answers `ok` or `failed REASON`; ends with its input. */
int unmount_main(void);

#endif
