import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BerthError } from '../core/errors.ts'
import { TarParser } from './parser.ts'
import { cleanPath } from './paths.ts'
import type { EntryType, TarEntry } from './types.ts'
import { archiveEnd, encodeHeader, paddingAfter, tarEntry } from './writer.ts'

interface Seen {
  entry: TarEntry
  content: Buffer
}

/** All of an archive, given in the chunks that the cuts make. */
const parse = (archive: Buffer, cuts: number[]): Seen[] => {
  const seen: Seen[] = []
  let open: { entry: TarEntry; parts: Buffer[] } | undefined
  const parser = new TarParser({
    entry: entry => {
      assert.equal(open, undefined)
      open = { entry, parts: [] }
    },
    data: chunk => open?.parts.push(Buffer.from(chunk)),
    close: () => {
      assert.ok(open)
      seen.push({ entry: open.entry, content: Buffer.concat(open.parts) })
      open = undefined
    },
  })
  const edges = [...new Set([0, ...cuts.map(cut => cut % (archive.length + 1)), archive.length])].sort(
    (a, b) => a - b,
  )
  for (const [index, edge] of edges.entries()) parser.write(archive.subarray(edge, edges[index + 1] ?? edge))
  parser.end()
  return seen
}

const bytes = (most: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: 1, maxLength: most }).map(value => Buffer.from(value.map(byte => byte || 1)))

// A trailing slash tells a directory, and is not part of the name.
const name = (most: number): fc.Arbitrary<Buffer> =>
  bytes(most).map(value => Buffer.concat([value, Buffer.from('z')]))

const types: EntryType[] = ['file', 'link', 'symlink', 'char', 'block', 'directory', 'fifo']

const member = fc
  .record({
    type: fc.constantFrom(...types),
    name: name(300),
    linkName: name(300),
    mode: fc.nat(0o7777),
    uid: fc.integer({ min: 0, max: 0xffff_fffe }),
    gid: fc.integer({ min: 0, max: 0xffff_fffe }),
    mtime: fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n }),
    deviceMajor: fc.nat(4095),
    deviceMinor: fc.nat(0o7777777),
    content: fc.uint8Array({ maxLength: 3000 }),
    xattrs: fc.array(fc.tuple(fc.stringMatching(/^user\.[a-z]{1,20}$/), fc.uint8Array({ maxLength: 200 })), {
      maxLength: 3,
    }),
  })
  .map(({ content, xattrs, ...known }) => {
    const device = known.type === 'char' || known.type === 'block'
    const linked = known.type === 'link' || known.type === 'symlink'
    const file = known.type === 'file'
    return {
      content: Buffer.from(file ? content : []),
      entry: tarEntry({
        ...known,
        linkName: linked ? known.linkName : '',
        deviceMajor: device ? known.deviceMajor : 0,
        deviceMinor: device ? known.deviceMinor : 0,
        size: file ? content.length : 0,
        xattrs: new Map(xattrs.map(([key, value]) => [key, Buffer.from(value)])),
      }),
    }
  })

const archiveOf = (members: Seen[]): Buffer =>
  Buffer.concat([
    ...members.flatMap(({ entry, content }) => [encodeHeader(entry), content, paddingAfter(content.length)]),
    archiveEnd(),
  ])

const plain = ({ entry, content }: Seen): object => ({
  ...entry,
  name: Buffer.from(entry.name).toString('hex'),
  linkName: Buffer.from(entry.linkName).toString('hex'),
  xattrs: [...entry.xattrs].map(([key, value]) => `${key}=${Buffer.from(value).toString('hex')}`).sort(),
  content: content.toString('hex'),
})

test('whatever is written is read back, however it is cut into chunks', () => {
  fc.assert(
    fc.property(fc.array(member, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 8 }), (members, cuts) => {
      assert.deepEqual(parse(archiveOf(members), cuts).map(plain), members.map(plain))
    }),
    { numRuns: 300 },
  )
})

test('damage of any byte gives entries or a BerthError, and never a loop', () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(
      fc.array(member, { minLength: 1, maxLength: 4 }),
      damage,
      fc.array(fc.nat(), { maxLength: 4 }),
      (members, spots, cuts) => {
        const archive = archiveOf(members)
        for (const [at, value] of spots) archive[at % archive.length] = value
        try {
          parse(archive, cuts)
        } catch (error) {
          assert.ok(error instanceof BerthError, String(error))
        }
      },
    ),
    { numRuns: 600 },
  )
})

test('any cut within an entry is an error', () => {
  fc.assert(
    fc.property(member, fc.nat(), (one, at) => {
      const whole = archiveOf([one])
      const end = whole.length - 1024 - paddingAfter(one.content.length).length
      const cut = 1 + (at % (end - 1))
      assert.throws(() => parse(whole.subarray(0, cut), []), BerthError)
    }),
    { numRuns: 300 },
  )
})

test('the last file may lack its padding and the end marker', () => {
  fc.assert(
    fc.property(member, fc.nat(), (one, at) => {
      const whole = archiveOf([one])
      const padding = paddingAfter(one.content.length).length
      const cut = whole.length - 1024 - (at % (padding + 1))
      assert.deepEqual(parse(whole.subarray(0, cut), []).map(plain), [plain(one)])
    }),
    { numRuns: 300 },
  )
})

test('random bytes are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 512, maxLength: 2048 }), noise => {
      noise[0] = 1
      assert.throws(() => parse(Buffer.from(noise), []), BerthError)
    }),
    { numRuns: 300 },
  )
})

test('a cleaned path has no empty, dot or dot-dot part', () => {
  const part = fc.constantFrom('', '.', '..', 'a', 'b.c', '...', '.x')
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), parts => {
      try {
        const clean = cleanPath(parts.join('/'))
        assert.ok(clean === '' || clean.split('/').every(name => !['', '.', '..'].includes(name)), clean)
        assert.equal(cleanPath(clean), clean)
      } catch (error) {
        assert.ok(error instanceof BerthError)
      }
    }),
    { numRuns: 1000 },
  )
})
