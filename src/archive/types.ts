/**
 * Tar archives as image layers and `docker cp` use them: ustar, PAX and GNU
 * extensions read, PAX written. Everything streams; nothing holds a file whole.
 */

export type EntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo'

/** One member of an archive. Names are bytes: Linux file names need not be UTF-8. */
export interface TarEntry {
  type: EntryType
  /** As in the archive, without a trailing slash, not cleaned of `..`. */
  name: Uint8Array
  /** Target of a link or symlink, else empty. */
  linkName: Uint8Array
  /** Permission bits with setuid, setgid and sticky; no file type. */
  mode: number
  uid: number
  gid: number
  userName: string
  groupName: string
  /** Bytes of content that follow (after expansion, for a sparse member). */
  size: number
  /** Set where the archive holds the content with holes left out; then `size` tells nothing about disk space. */
  sparse?: true
  /** Nanoseconds since the epoch. */
  mtime: bigint
  deviceMajor: number
  deviceMinor: number
  /** Extended attributes by full name (`security.capability`). */
  xattrs: Map<string, Uint8Array>
}

export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2' | 'xz'
