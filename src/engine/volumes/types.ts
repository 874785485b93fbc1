/**
 * Volumes of the driver `local`, and those that plugins keep. Vocabulary:
 *
 * - **volume**: `<data-root>/volumes/<name>/_data`, with a record; named by a
 *   user or, anonymous, by an id. It outlives containers.
 * - **home**: `<data-root>/volumes/<name>`; `.new-<name>` until its record is
 *   written, `.removed-<nonce>-<name>` from just before its record goes.
 * - **user**: a container whose record mounts the volume, from its creation to
 *   its removal, running or not. Derived from the containers' records, never
 *   stored beside them: so it is right after any crash.
 * - **mounted volume**: one whose options name a device (`type`, `o`, `device`):
 *   mounted over `_data` while a running container uses it.
 * - **foreign volume**: a plugin's. It has no home, and a record only if it was
 *   made or used here; the plugin knows where it is, and whether it still is.
 * - **use**: a container that runs with a foreign volume: the plugin is asked to
 *   mount it by the container's id, and to unmount it by the same.
 */
export interface VolumeRecord {
  name: string
  /** RFC 3339 with nanoseconds. */
  created: string
  labels: Record<string, string>
  /** Of the driver, as given: `type`, `o`, `device`. */
  options: Record<string, string>
  /** Absent for `local`, else the plugin's name. */
  driver?: string
}

/** What a request says of a volume that may have to be made. */
export interface VolumeWish {
  name: string
  /** Empty for any. */
  driver: string
  options: Record<string, string>
  labels: Record<string, string>
}

/** Docker's label of a volume that was made without a name: a prune without `all` takes only these. */
export const anonymousLabel = 'com.docker.volume.anonymous'

export const driverOf = ({ driver }: VolumeRecord): string => driver ?? 'local'

/** A plugin's. */
export const isForeign = (record: VolumeRecord): record is VolumeRecord & { driver: string } =>
  record.driver !== undefined

/** Whether its options make it a mounted volume. */
export const needsMount = ({ options, driver }: VolumeRecord): boolean =>
  driver === undefined && Boolean(options['type'] || options['device'])
