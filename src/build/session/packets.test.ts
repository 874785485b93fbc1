import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import type { BerthError } from '../../core/errors.ts'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '../../linux/stat.ts'
import { PacketSchema } from '../../wire/buildkit/fsutil_pb.ts'
import { kindOf, permissionsOf, toGoMode } from './goFileMode.ts'
import { FrameSplitter, frame } from './grpcFrames.ts'
import { callError, statusOf } from './grpcStatus.ts'
import { encodeMetadata } from './metadata.ts'
import { PacketOrder } from './packetOrder.ts'
import { packetTypes, readPacket, writePacket } from './packets.ts'

/** Bytes cut at any places. */
const cut = (bytes: Buffer, places: number[]): Buffer[] => {
  const ends = [...places.map(place => place % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}

test('messages come out as they were framed, however their bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 50 })),
      fc.array(fc.nat(1000), { maxLength: 20 }),
      (messages, places) => {
        const splitter = new FrameSplitter()
        const bytes = Buffer.concat(messages.map(frame))
        const out = cut(bytes, places).flatMap(piece => [...splitter.push(piece)])
        assert.deepEqual(
          out.map(one => [...one]),
          messages.map(one => [...one]),
        )
        assert.ok(splitter.isAtRest)
      },
    ),
  )
})

test('messages that are compressed or too large are refused', () => {
  assert.throws(() => [...new FrameSplitter().push(Buffer.from([1, 0, 0, 0, 0]))], /compressed/)
  assert.throws(
    () => [...new FrameSplitter(10).push(Buffer.from([0, 0, 0, 0, 11]))],
    /has 11 bytes, at most 10/,
  )
})

test('modes go to Go and back', () => {
  const kinds = {
    directory: S_IFDIR,
    link: S_IFLNK,
    character: S_IFCHR,
    block: S_IFBLK,
    fifo: S_IFIFO,
    file: S_IFREG,
  }
  for (const [kind, type] of Object.entries(kinds))
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0o7777 }), permissions => {
        const mode = toGoMode(type | permissions)
        assert.equal(kindOf(mode), kind)
        assert.equal(permissionsOf(mode), permissions)
      }),
    )
  // As `stat` of Go tells them.
  assert.equal(toGoMode(S_IFDIR | 0o1777), 2 ** 31 + 2 ** 20 + 0o777)
  assert.equal(toGoMode(S_IFREG | 0o4755), 2 ** 23 + 0o755)
  assert.equal(toGoMode(S_IFCHR | 0o600), 2 ** 26 + 2 ** 21 + 0o600)
})

interface Tree {
  [name: string]: Tree | null
}

const walk = (tree: Tree, below = ''): [string, boolean][] =>
  Object.keys(tree)
    .toSorted()
    .flatMap(name => {
      const child = tree[name]
      const path = below + name
      return child ? [[path, true] as [string, boolean], ...walk(child, `${path}/`)] : [[path, false]]
    })

const { tree } = fc.letrec<{ tree: Tree; node: Tree | null }>(tie => ({
  node: fc.option(tie('tree'), { depthSize: 'small' }),
  tree: fc.dictionary(
    fc.stringMatching(/^[a-z0-9 .-]{1,3}$/).filter(name => !/^\.{1,2}$/.test(name)),
    tie('node'),
    {
      maxKeys: 5,
    },
  ),
}))

test('any walk is in order; two entries exchanged are not', () => {
  fc.assert(
    fc.property(tree, fc.nat(), (found, seed) => {
      const entries = walk(found)
      const left: string[] = []
      const order = new PacketOrder(path => left.push(path))
      for (const [path, isDirectory] of entries) order.next(path, isDirectory)
      order.end()
      assert.deepEqual(
        left.toSorted(),
        ['', ...entries.flatMap(([path, is]) => (is ? [path] : []))].toSorted(),
      )
      if (entries.length < 2) return
      const at = seed % (entries.length - 1)
      const swapped = entries
        .with(at, entries[at + 1] ?? ['', false])
        .with(at + 1, entries[at] ?? ['', false])
      const strict = new PacketOrder()
      assert.throws(() => {
        for (const [path, isDirectory] of swapped) strict.next(path, isDirectory)
      }, /changes out of order/)
    }),
  )
})

test('no text leads out or is taken unclean', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('/', '.', '..', 'a', '\0') }), text => {
      const order = new PacketOrder()
      try {
        order.next(text, false)
      } catch {
        return
      }
      assert.match(text, /^[a.]*$/)
      assert.ok(!['', '.', '..'].includes(text))
    }),
  )
})

test('metadata is told as it is, or escaped as Go does it', () => {
  assert.deepEqual(encodeMetadata({ a: ['x y', '*.log'], b: undefined, c: [] }), { a: ['x y', '*.log'] })
  assert.deepEqual(encodeMetadata({ a: ['é &+', 'x'] }), { a: ['%C3%A9+%26%2B', 'x'], 'a-encoded': ['1'] })
  assert.deepEqual(encodeMetadata({ a: ['new\nline', ' x'] }), {
    a: ['new%0Aline', '+x'],
    'a-encoded': ['1'],
  })
})

test('how a call ended', () => {
  assert.equal(statusOf({}), undefined)
  assert.deepEqual(statusOf({ 'grpc-status': '5', 'grpc-message': 'no%20such' }), {
    code: 5,
    message: 'no such',
  })
  assert.deepEqual(statusOf({ 'grpc-status': '5', 'grpc-message': '100%' }), { code: 5, message: '100%' })
  assert.equal(callError(5, 'x').message, 'rpc error: code = NotFound desc = x')
  assert.equal(callError(99, 'x').message, 'rpc error: code = Code(99) desc = x')
})

const bytes = fc.uint8Array({ maxLength: 40 })
const signed = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const unsigned = fc.integer({ min: 0, max: 2 ** 32 - 1 })

const anyStat = fc.record({
  ...{ path: bytes, linkname: bytes, mode: unsigned, uid: unsigned, gid: unsigned },
  ...{ size: signed, modTime: signed, devmajor: signed, devminor: signed },
  xattrs: fc.dictionary(fc.string(), bytes),
})

test('packets are read and written as their description says', () => {
  fc.assert(
    fc.property(
      fc.record({ type: fc.constantFrom(...Object.values(packetTypes)), id: unsigned, data: bytes }),
      fc.option(anyStat, { nil: undefined }),
      (fields, stat) => {
        const wire = create(PacketSchema, stat === undefined ? fields : { ...fields, stat })
        const read = readPacket(toBinary(PacketSchema, wire))
        assert.deepEqual(create(PacketSchema, read as typeof wire), wire)
        assert.deepEqual(fromBinary(PacketSchema, writePacket(read)), create(PacketSchema, fields))
      },
    ),
  )
})

test('bytes that are no packet are told as such; what is unknown is passed over', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), any => {
      try {
        readPacket(any)
      } catch (error) {
        assert.equal((error as BerthError).code, 'bad-message')
      }
    }),
    { numRuns: 2000 },
  )
  assert.throws(() => readPacket(Buffer.from([0x22, 9, 1])), /no packet of files/)
  assert.equal(readPacket(Buffer.from([0x7a, 1, 7, 0x18, 3])).id, 3)
})
