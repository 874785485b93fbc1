import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { IdMaps } from '../linux/idMaps.ts'
import { attributesInside, attributesOutside, ownerInside, ownerOutside } from './mappedOwners.ts'

const maps: IdMaps = {
  uids: [{ inside: 0, outside: 100_000, count: 1000 }],
  gids: [{ inside: 0, outside: 200_000, count: 1000 }],
}

/** `vfs_cap_data` of version 2: all of it told by its first bytes. */
const capability = Buffer.alloc(20, 7)
capability.writeUInt32LE(0x02000001, 0)

const acl = (user: number, group: number): Buffer => {
  const bytes = Buffer.alloc(4 + 3 * 8)
  bytes.writeUInt32LE(2, 0)
  for (const [index, [tag, id]] of (
    [
      [0x01, 0xffffffff],
      [0x02, user],
      [0x08, group],
    ] as const
  ).entries()) {
    bytes.writeUInt16LE(tag, 4 + index * 8)
    bytes.writeUInt32LE(id, 8 + index * 8)
  }
  return bytes
}

test('owners go out and come back; who is not in the maps is nobody, or refused', () => {
  assert.deepEqual(ownerOutside({ uid: 5, gid: 6 }, maps), { uid: 100_005, gid: 200_006 })
  assert.deepEqual(ownerInside({ uid: 100_005, gid: 200_006 }, maps), { uid: 5, gid: 6 })
  assert.deepEqual(ownerInside({ uid: 0, gid: 0 }, maps), { uid: 65534, gid: 65534 })
  assert.deepEqual(ownerInside({ uid: 0, gid: 3 }, undefined), { uid: 0, gid: 3 })
  assert.throws(
    () => ownerOutside({ uid: 0, gid: 1000 }, maps),
    /Container ID 1000 cannot be mapped to a host ID/,
  )
})

test('ids in access control lists and capabilities do, too', () => {
  const inside = new Map<string, Uint8Array>([
    ['security.capability', capability],
    ['system.posix_acl_access', acl(5, 6)],
    ['user.note', Buffer.from('as it is')],
  ])
  const outside = attributesOutside(inside, maps)
  const rooted = Buffer.from(outside.get('security.capability') ?? [])
  assert.deepEqual(
    [rooted.length, rooted.readUInt32LE(0), rooted.readUInt32LE(20)],
    [24, 0x03000001, 100_000],
  )
  assert.deepEqual(outside.get('system.posix_acl_access'), acl(100_005, 200_006))
  assert.deepEqual(attributesInside(outside, maps), inside)
  assert.deepEqual(attributesInside(outside, undefined), outside)
})

test('a capability for another root is left as it is', () => {
  const other = Buffer.alloc(24, 1)
  other.writeUInt32LE(0x03000000, 0)
  const given = new Map<string, Uint8Array>([['security.capability', other]])
  assert.deepEqual(attributesInside(given, maps), given)
  assert.deepEqual(attributesOutside(given, maps), given)
})
