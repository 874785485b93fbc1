import type { EntryType } from '../../archive/types.ts'
import type { OutgoingMember } from '../../archive/writer.ts'
import { tarEntry } from '../../archive/writer.ts'
import type { Stat } from '../../wire/buildkit/fsutil_pb.ts'
import { kindOf, permissionsOf } from '../session/goFileMode.ts'
import type { TreeSource } from '../session/treeSender.ts'
import type { EntryKind } from '../session/types.ts'

/** A tree as the members of an archive. */

const types: Record<EntryKind, EntryType> = {
  directory: 'directory',
  file: 'file',
  link: 'symlink',
  character: 'char',
  block: 'block',
  fifo: 'fifo',
}

const memberOf = (source: TreeSource, stat: Stat): OutgoingMember => {
  const kind = types[kindOf(stat.mode)]
  // A file that is another name of one before it.
  const type = kind !== 'symlink' && stat.linkname.length > 0 ? 'link' : kind
  const size = type === 'file' ? Number(stat.size) : 0
  const entry = tarEntry({
    type,
    name: stat.path,
    linkName: stat.linkname,
    mode: permissionsOf(stat.mode),
    uid: stat.uid,
    gid: stat.gid,
    size,
    mtime: stat.modTime,
    deviceMajor: Number(stat.devmajor),
    deviceMinor: Number(stat.devminor),
    xattrs: new Map(Object.entries(stat.xattrs)),
  })
  return size > 0 ? { entry, body: source.open(stat) } : { entry }
}

/** In the order of the tree's walk. */
export function* treeMembers(source: TreeSource): Generator<OutgoingMember> {
  for (const stat of source.entries()) yield memberOf(source, stat)
}
