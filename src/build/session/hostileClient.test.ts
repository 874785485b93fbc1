import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { BerthError } from '../../core/errors.ts'
import { SystemError } from '../../linux/ffi.ts'
import { Packet_PacketType, PacketSchema, StatSchema } from '../../wire/buildkit/fsutil_pb.ts'
import { ContextReceiver } from './contextReceiver.ts'
import { picture } from './testing/folders.ts'

/** Names that are links, directories and files in turn, and ways out. */
const name = fc.constantFrom('a', 'b', 'c', '..', '.', '', 'a\0', 'ü', 'x'.repeat(300))
const somePath = fc.array(name, { minLength: 1, maxLength: 4 }).map(names => names.join('/'))
const target = fc.oneof(
  fc.constant(''),
  somePath,
  fc.constantFrom('/', '/etc/passwd', '../outside', '../../outside'),
)
const mode = fc
  .tuple(fc.constantFrom(0, 2 ** 31, 2 ** 27, 2 ** 25, 2 ** 24, 2 ** 19, 2 ** 23), fc.nat(0o777))
  .map(([type, permissions]) => type + permissions)

const stat = fc
  .record({
    path: somePath.map(text => Buffer.from(text)),
    mode,
    size: fc.constantFrom(0n, 3n, -1n, 2n ** 40n),
    modTime: fc.constantFrom(0n, 5n, -1n, 2n ** 62n),
    linkname: target.map(text => Buffer.from(text)),
    devmajor: fc.constantFrom(0n, 1n, -1n),
    devminor: fc.constantFrom(0n, 3n),
  })
  .map(fields =>
    create(PacketSchema, { type: Packet_PacketType.PACKET_STAT, stat: create(StatSchema, fields) }),
  )
const other = fc
  .record({
    type: fc.constantFrom(0, 1, 2, 3, 4, 9),
    id: fc.nat(5),
    data: fc.constantFrom('', 'bytes').map(text => Buffer.from(text)),
  })
  .map(({ type, id, data }) => create(PacketSchema, { type: type as Packet_PacketType, id, data }))

const sorted = fc
  .uniqueArray(fc.tuple(fc.constantFrom('a', 'a/b', 'a/c', 'b', 'b/a', 'c'), mode, target), {
    selector: one => one[0],
  })
  .map(entries =>
    entries
      .toSorted(([one], [two]) => (one < two ? -1 : 1))
      .map(([at, bits, to]) =>
        create(PacketSchema, {
          type: Packet_PacketType.PACKET_STAT,
          stat: create(StatSchema, {
            path: Buffer.from(at),
            mode: bits,
            linkname: Buffer.from(to),
            size: 5n,
          }),
        }),
      ),
  )

test('whatever a client sends, nothing outside of the folder changes', () => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-hostile-'))
  try {
    mkdirSync(path.join(base, 'outside'))
    const before = picture(path.join(base, 'outside'))
    const kept = path.join(base, 'kept')
    fc.assert(
      fc.property(fc.oneof(fc.array(fc.oneof(stat, other)), sorted), packets => {
        const asked: number[] = []
        using receiver = new ContextReceiver({
          folder: kept,
          differ: 'metadata',
          send: ({ type, id }) => {
            if (type === Packet_PacketType.PACKET_REQ) asked.push(id)
          },
        })
        const data = (id: number, text: string): void =>
          receiver.take(
            create(PacketSchema, { type: Packet_PacketType.PACKET_DATA, id, data: Buffer.from(text) }),
          )
        try {
          for (const packet of packets) {
            receiver.take(packet)
            for (const id of asked.splice(0)) {
              data(id, 'data')
              data(id, '')
            }
          }
          receiver.take(create(PacketSchema, { type: Packet_PacketType.PACKET_STAT }))
        } catch (error) {
          assert.ok(error instanceof BerthError || error instanceof SystemError, String(error))
        }
      }),
      { numRuns: 300 },
    )
    assert.deepEqual(picture(path.join(base, 'outside')), before)
    const names = readdirSync(base).filter(found => !found.startsWith('kept'))
    assert.deepEqual(names, ['outside'])
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})

test('a file that cannot get its name leaves no descriptor', () => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-hostile-'))
  try {
    const open = (): number => readdirSync('/proc/self/fd').length
    const before = open()
    const receiver = new ContextReceiver({
      ...{ folder: path.join(base, 'kept'), differ: 'metadata' },
      send: () => {},
    })
    const take = (fields: MessageInitShape<typeof PacketSchema>): void =>
      receiver.take(create(PacketSchema, fields))
    // Larger than the kernel takes.
    const xattrs = { 'user.large': new Uint8Array(70_000) }
    const stat = create(StatSchema, { path: Buffer.from('file'), mode: 0o644, size: 5n, xattrs })
    take({ type: Packet_PacketType.PACKET_STAT, stat })
    take({ type: Packet_PacketType.PACKET_DATA, id: 0, data: Buffer.from('bytes') })
    assert.throws(() => take({ type: Packet_PacketType.PACKET_DATA, id: 0 }), SystemError)
    receiver[Symbol.dispose]()
    assert.equal(open(), before)
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})
