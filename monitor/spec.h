/* What one monitor is to do: key, NUL, value, NUL, …, as src/runtime/monitorSpec.ts writes it. */
#ifndef BERTH_SPEC_H
#define BERTH_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPEC_MAX 131072
#define SPEC_LIST_MAX 32
#define SPEC_ATTRS_MAX 65536

/* A resource of setrlimit(2), and what its hard limit is to be at least. */
struct hard_limit {
	int resource;
	uint64_t hard;
};

struct spec {
	const char *id;
	const char *directory;
	const char *runtime;
	const char *runtime_args[SPEC_LIST_MAX];
	size_t runtime_arg_count;
	const char *root;
	/* Exactly one of bundle and container + process is set. */
	const char *bundle;
	/* With a bundle: the image that the container goes on from. NULL for a new process. */
	const char *checkpoint;
	const char *container;
	const char *process;
	const char *log_path;
	const char *log_attrs;
	uint64_t log_max_size;
	uint64_t log_max_file;
	const char *monitor_cgroups[SPEC_LIST_MAX];
	size_t monitor_cgroup_count;
	const char *memory_cgroup;
	/* Of the pipes that the process gets: root of its user namespace. 0 where it has none of its own. */
	uint32_t owner_uid;
	uint32_t owner_gid;
	/* What root of a user namespace may not lower or raise; NULL for no change. */
	const char *oom_score_adj;
	struct hard_limit hard_limits[SPEC_LIST_MAX];
	size_t hard_limit_count;
	/* The file of the empty mount namespace that a view begins with; NULL for none. */
	const char *bare;
	/* Hidden mounts that this container needs. */
	const char *brought[SPEC_LIST_MAX];
	size_t brought_count;
	uint16_t columns;
	uint16_t rows;
	bool hide_unified;
	/* The runtime is also there as RUNTIME_FD. */
	bool sealed_runtime;
	bool terminal;
	bool open_stdin;
	bool stdin_once;
	bool block_on_slow;
};

/* The strings point into `data`, which must outlive the spec. NULL, or what is wrong. */
const char *spec_parse(char *data, size_t length, struct spec *spec);

#endif
