import { badRequest } from '../core/errors.ts'
import { type IdMaps, type IdRange, insideOf, outsideOf, rootOf } from '../linux/idMaps.ts'
import type { Owner } from './metadata.ts'

/**
 * Owners of a tree that a user namespace sees: in archives they are as inside,
 * on the tree, which is looked at from outside, as outside. So are the ids in
 * access control lists (acl(5)) and in capabilities of files (capabilities(7)).
 */

const outside = (ranges: readonly IdRange[], id: number): number => {
  const found = outsideOf(ranges, id)
  if (found === undefined) throw badRequest(`Container ID ${id} cannot be mapped to a host ID`)
  return found
}

/** Errors: `bad-request` in Docker's words where the user namespace does not have one. */
export const ownerOutside = ({ uid, gid }: Owner, maps: IdMaps | undefined): Owner =>
  maps ? { uid: outside(maps.uids, uid), gid: outside(maps.gids, gid) } : { uid, gid }

export const ownerInside = ({ uid, gid }: Owner, maps: IdMaps | undefined): Owner =>
  maps ? { uid: insideOf(maps.uids, uid), gid: insideOf(maps.gids, gid) } : { uid, gid }

const capability = 'security.capability'
/** `vfs_cap_data` without a root, and with one after it. */
const [withoutRoot, withRoot] = [20, 24]
const [version2, version3] = [0x02000000, 0x03000000]

const version = (value: Buffer): number => value.readUInt32LE(0) & 0xff000000

const withVersion = (value: Buffer, wanted: number, root?: number): Buffer => {
  const made = Buffer.alloc(root === undefined ? withoutRoot : withRoot)
  value.copy(made, 0, 0, withoutRoot)
  made.writeUInt32LE(((value.readUInt32LE(0) & 0x00ffffff) | wanted) >>> 0, 0)
  if (root !== undefined) made.writeUInt32LE(root, withoutRoot)
  return made
}

const capabilityOutside = (value: Buffer, maps: IdMaps): Buffer =>
  value.length === withoutRoot && version(value) === version2
    ? withVersion(value, version3, rootOf(maps).uid)
    : value

const capabilityInside = (value: Buffer, maps: IdMaps): Buffer =>
  value.length === withRoot &&
  version(value) === version3 &&
  value.readUInt32LE(withoutRoot) === rootOf(maps).uid
    ? withVersion(value, version2)
    : value

/** Kinds of entries that name somebody. */
const [aclUser, aclGroup] = [0x02, 0x08]
const [aclHeader, aclEntry] = [4, 8]

const mapAcl = (
  value: Buffer,
  maps: IdMaps,
  map: (ranges: readonly IdRange[], id: number) => number,
): Buffer => {
  const made = Buffer.from(value)
  for (let at = aclHeader; at + aclEntry <= made.length; at += aclEntry) {
    const tag = made.readUInt16LE(at)
    if (tag !== aclUser && tag !== aclGroup) continue
    const ranges = tag === aclUser ? maps.uids : maps.gids
    made.writeUInt32LE(map(ranges, made.readUInt32LE(at + 4)), at + 4)
  }
  return made
}

const attributes = (
  given: ReadonlyMap<string, Uint8Array>,
  maps: IdMaps | undefined,
  to: { capability: typeof capabilityInside; id: typeof outside },
): Map<string, Uint8Array> => {
  if (!maps || given.size === 0) return new Map(given)
  return new Map(
    [...given].map(([name, bytes]) => {
      const value = Buffer.from(bytes)
      if (name === capability) return [name, to.capability(value, maps)] as const
      if (name.startsWith('system.posix_acl_')) return [name, mapAcl(value, maps, to.id)] as const
      return [name, value] as const
    }),
  )
}

export const attributesOutside = (
  given: ReadonlyMap<string, Uint8Array>,
  maps: IdMaps | undefined,
): Map<string, Uint8Array> => attributes(given, maps, { capability: capabilityOutside, id: outside })

export const attributesInside = (
  given: ReadonlyMap<string, Uint8Array>,
  maps: IdMaps | undefined,
): Map<string, Uint8Array> => attributes(given, maps, { capability: capabilityInside, id: insideOf })
