#include "spec.h"

#include <string.h>
#include <sys/resource.h>

#include "bytes.h"

struct text_key {
	const char *key;
	size_t offset;
};

static const struct text_key text_keys[] = {
	{ "id", offsetof(struct spec, id) },
	{ "directory", offsetof(struct spec, directory) },
	{ "runtime", offsetof(struct spec, runtime) },
	{ "root", offsetof(struct spec, root) },
	{ "bundle", offsetof(struct spec, bundle) },
	{ "checkpoint", offsetof(struct spec, checkpoint) },
	{ "container", offsetof(struct spec, container) },
	{ "process", offsetof(struct spec, process) },
	{ "log-path", offsetof(struct spec, log_path) },
	{ "log-attrs", offsetof(struct spec, log_attrs) },
	{ "memory-cgroup", offsetof(struct spec, memory_cgroup) },
	{ "oom-score-adj", offsetof(struct spec, oom_score_adj) },
	{ "bare", offsetof(struct spec, bare) },
};

static const struct text_key flag_keys[] = {
	{ "hide-unified", offsetof(struct spec, hide_unified) },
	{ "sealed-runtime", offsetof(struct spec, sealed_runtime) },
	{ "terminal", offsetof(struct spec, terminal) },
	{ "open-stdin", offsetof(struct spec, open_stdin) },
	{ "stdin-once", offsetof(struct spec, stdin_once) },
	{ "block-on-slow", offsetof(struct spec, block_on_slow) },
};

static bool set_text(struct spec *spec, const char *key, const char *value)
{
	for (size_t i = 0; i < COUNT(text_keys); i++) {
		if (strcmp(key, text_keys[i].key) != 0)
			continue;
		memcpy((char *)spec + text_keys[i].offset, &value, sizeof value);
		return true;
	}
	return false;
}

static bool set_flag(struct spec *spec, const char *key, const char *value)
{
	for (size_t i = 0; i < COUNT(flag_keys); i++) {
		if (strcmp(key, flag_keys[i].key) != 0)
			continue;
		bool on = strcmp(value, "1") == 0;
		memcpy((char *)spec + flag_keys[i].offset, &on, sizeof on);
		return true;
	}
	return false;
}

static bool set_owner(const char *value, uint32_t *owner)
{
	uint64_t number;
	/* The last one stands for none. */
	if (!parse_number(value, UINT32_MAX - 1, &number))
		return false;
	*owner = (uint32_t)number;
	return true;
}

static bool set_number(struct spec *spec, const char *key, const char *value)
{
	uint64_t number;
	if (strcmp(key, "owner-uid") == 0)
		return set_owner(value, &spec->owner_uid);
	if (strcmp(key, "owner-gid") == 0)
		return set_owner(value, &spec->owner_gid);
	if (strcmp(key, "log-max-size") == 0)
		return parse_number(value, INT64_MAX, &spec->log_max_size);
	if (strcmp(key, "log-max-file") == 0)
		return parse_number(value, 100000, &spec->log_max_file);
	bool columns = strcmp(key, "columns") == 0;
	if ((!columns && strcmp(key, "rows") != 0) || !parse_number(value, UINT16_MAX, &number))
		return false;
	if (columns)
		spec->columns = (uint16_t)number;
	else
		spec->rows = (uint16_t)number;
	return true;
}

static bool append(const char **list, size_t *count, const char *value)
{
	if (*count == SPEC_LIST_MAX)
		return false;
	list[(*count)++] = value;
	return true;
}

/* `RESOURCE:HARD`, both numbers. */
static bool add_hard_limit(struct spec *spec, const char *value)
{
	char resource[4];
	uint64_t number;
	size_t length = strcspn(value, ":");
	if (value[length] != ':' || length >= sizeof resource || spec->hard_limit_count == SPEC_LIST_MAX)
		return false;
	memcpy(resource, value, length);
	resource[length] = '\0';
	struct hard_limit *limit = &spec->hard_limits[spec->hard_limit_count];
	if (!parse_number(resource, RLIM_NLIMITS - 1, &number) ||
		!parse_number(value + length + 1, UINT64_MAX, &limit->hard))
		return false;
	limit->resource = (int)number;
	spec->hard_limit_count++;
	return true;
}

static bool set(struct spec *spec, const char *key, const char *value)
{
	if (strcmp(key, "runtime-arg") == 0)
		return append(spec->runtime_args, &spec->runtime_arg_count, value);
	if (strcmp(key, "monitor-cgroup") == 0)
		return append(spec->monitor_cgroups, &spec->monitor_cgroup_count, value);
	if (strcmp(key, "hard-limit") == 0)
		return add_hard_limit(spec, value);
	if (strcmp(key, "brought") == 0)
		return append(spec->brought, &spec->brought_count, value);
	return set_text(spec, key, value) || set_flag(spec, key, value) || set_number(spec, key, value);
}

static const char *check(const struct spec *spec)
{
	if (!spec->id || !spec->directory || spec->directory[0] != '/')
		return "the monitor's specification lacks an id or an absolute directory";
	if (!spec->runtime || !spec->root)
		return "the monitor's specification lacks the runtime's path or root";
	if (!spec->bundle == !(spec->container && spec->process))
		return "the monitor's specification must name either a bundle, or a container and a process file";
	if (spec->checkpoint && !spec->bundle)
		return "the monitor's specification names a checkpoint without a bundle";
	if (spec->log_max_file < 1)
		return "the monitor's specification must keep at least one log file";
	if (spec->log_attrs && strlen(spec->log_attrs) > SPEC_ATTRS_MAX)
		return "the log attributes are longer than 64 KiB";
	return NULL;
}

const char *spec_parse(char *data, size_t length, struct spec *spec)
{
	memset(spec, 0, sizeof *spec);
	spec->log_max_file = 1;
	if (length == 0 || length > SPEC_MAX || data[length - 1] != '\0')
		return "the monitor's specification is empty, too long or cut short";
	for (const char *at = data; at < data + length;) {
		const char *key = at;
		const char *value = key + strlen(key) + 1;
		if (value >= data + length)
			return "the monitor's specification ends with a key that has no value";
		if (!set(spec, key, value))
			return "the monitor's specification has an unknown key or an unusable value";
		at = value + strlen(value) + 1;
	}
	return check(spec);
}
