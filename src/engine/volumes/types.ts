/**
 * Volumes of the driver `local`. Vocabulary:
 *
 * - **volume**: `<data-root>/volumes/<name>/_data`, with a record; named by a
 *   user or, anonymous, by an id. It outlives containers.
 * - **user**: a container whose record mounts the volume, from its creation to
 *   its removal, running or not. Derived from the containers' records, never
 *   stored beside them: so it is right after any crash.
 * - **mounted volume**: one whose options name a device (`type`, `o`, `device`):
 *   mounted over `_data` while a running container uses it.
 */
export interface VolumeRecord {
  name: string
  /** RFC 3339 with nanoseconds. */
  created: string
  labels: Record<string, string>
  /** Of the driver, as given: `type`, `o`, `device`. */
  options: Record<string, string>
  /** Made without a name for a container: goes with it by `rm -v` and `--rm`, and by a prune without `all`. */
  anonymous: boolean
}

/** Bytes and users of a volume, as `system df` shows them. */
export interface VolumeUsage {
  size: number
  users: number
}
