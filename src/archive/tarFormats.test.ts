import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  createReadStream,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import { packTar, unpackTar } from 'modern-tar'
import { setXattr } from '../linux/xattrs.ts'
import { formatPaxTime, parsePaxTime } from './numbers.ts'
import { parsePax, paxRecord } from './pax.ts'
import { readTar } from './reader.ts'
import type { TarEntry } from './types.ts'
import { tarEntry, writeTar } from './writer.ts'

/** The codec against GNU tar and modern-tar, in both directions. */

const base = mkdtempSync('/tmp/berth-formats-')
after(() => rmSync(base, { recursive: true }))

const long = 'n'.repeat(180)
const deep = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}`

const makeTree = (): string => {
  const tree = join(base, 'tree')
  mkdirSync(join(tree, deep), { recursive: true })
  writeFileSync(join(tree, 'plain'), 'hello')
  writeFileSync(join(tree, long), 'long')
  writeFileSync(join(tree, deep, 'leaf'), 'leaf')
  writeFileSync(join(tree, 'ünïcode'), 'u')
  writeFileSync(join(tree, 'empty'), '')
  linkSync(join(tree, 'plain'), join(tree, `zz-link-${long}`))
  symlinkSync(`/target/${long}`, join(tree, 'symlink'))
  execFileSync('mknod', [join(tree, 'null'), 'c', '1', '3'])
  execFileSync('mkfifo', [join(tree, 'fifo')])
  setXattr(join(tree, 'plain'), 'user.note', Buffer.from('a\nb\0c'))
  const sparse = openSync(join(tree, 'sparse'), 'w')
  for (let n = 0; n < 60; n++) writeSync(sparse, `data ${n}`, n * 40_000)
  truncateSync(join(tree, 'sparse'), 3_000_001)
  writeFileSync(join(tree, 'hole'), '')
  truncateSync(join(tree, 'hole'), 200_000)
  return tree
}
const tree = makeTree()

interface Seen extends TarEntry {
  sha: string
  length: number
}

const readAll = async (source: AsyncIterable<Uint8Array>): Promise<Map<string, Seen>> => {
  const seen = new Map<string, Seen>()
  for await (const { entry, body } of readTar(source)) {
    const hash = createHash('sha256')
    let length = 0
    for await (const chunk of body) {
      hash.update(chunk)
      length += chunk.length
    }
    seen.set(String(entry.name), { ...entry, sha: hash.digest('hex'), length })
  }
  return seen
}

const shaOf = (name: string): string =>
  createHash('sha256')
    .update(readFileSync(join(tree, name)))
    .digest('hex')

for (const format of [
  '--format=ustar',
  '--format=gnu',
  '--format=gnu --sparse',
  '--format=pax --xattrs',
  '--format=pax --sparse --sparse-version=0.0',
  '--format=pax --sparse --sparse-version=0.1',
  '--format=pax --sparse --sparse-version=1.0 --xattrs',
  '--format=v7',
  '--format=oldgnu --sparse',
])
  for (const step of [512, 1000, 65536])
    test(`reads what GNU tar ${format} writes, in chunks of ${step}`, async () => {
      const archive = join(base, 'gnu.tar')
      const names =
        format.includes('ustar') || format.includes('v7') ? ['plain', 'empty', 'sparse', 'hole'] : ['.']
      execFileSync('tar', [...format.split(' '), '-C', tree, '-cf', archive, '--sort=name', ...names])
      const seen = await readAll(createReadStream(archive, { highWaterMark: step }))
      const prefix = names[0] === '.' ? './' : ''
      for (const name of [
        'plain',
        'empty',
        'sparse',
        'hole',
        ...(prefix ? [long, `${deep}/leaf`, 'ünïcode'] : []),
      ]) {
        const entry = seen.get(prefix + name)
        assert.equal(entry?.sha, shaOf(name), name)
        assert.equal(entry?.length, entry?.size)
      }
      if (!prefix) return
      assert.equal(String(seen.get('./symlink')?.linkName), `/target/${long}`)
      assert.equal(String(seen.get(`./zz-link-${long}`)?.linkName), './plain')
      assert.deepEqual([seen.get('./null')?.type, seen.get('./null')?.deviceMinor], ['char', 3])
      assert.equal(seen.get('./fifo')?.type, 'fifo')
      assert.equal(seen.get('./plain')?.mode, 0o644)
      assert.equal(seen.get('./plain')?.userName, 'root')
      if (format.includes('xattrs'))
        assert.equal(Buffer.from(seen.get('./plain')?.xattrs.get('user.note') ?? []).toString(), 'a\nb\0c')
    })

const hard: TarEntry[] = [
  tarEntry({ name: 'plain', size: 5, mtime: 1_700_000_000_000_000_000n, mode: 0o4755, userName: 'root' }),
  tarEntry({ name: long, size: 4, mtime: 1_700_000_000_123_456_789n }),
  tarEntry({ name: `${deep}/leaf`, uid: 3_000_000, gid: 4_000_000_000 }),
  tarEntry({ name: deep, type: 'directory', mode: 0o1777 }),
  tarEntry({ name: 'ünïcode', type: 'symlink', linkName: `ü${long}` }),
  tarEntry({ name: 'link', type: 'link', linkName: long }),
  tarEntry({ name: 'null', type: 'char', deviceMajor: 1, deviceMinor: 3 }),
  tarEntry({ name: 'old', mtime: -1_500_000_000n }),
  tarEntry({
    name: 'attributes',
    xattrs: new Map([
      ['user.b', Buffer.from('\0\n=')],
      ['user.a', Buffer.alloc(0)],
    ]),
  }),
  tarEntry({ name: Buffer.from([0x62, 0xff, 0x80]) }),
  tarEntry({ name: 'owner', userName: 'ü'.repeat(20), groupName: 'g'.repeat(40) }),
]

const bodies = (entry: TarEntry) => ({ entry, body: [Buffer.from('hello'.slice(0, entry.size))] })

const written = async (): Promise<Buffer> => Buffer.concat(await Array.fromAsync(writeTar(hard.map(bodies))))

test('reads back what it wrote, field by field', async () => {
  const found: TarEntry[] = []
  for await (const { entry } of readTar(Readable.from([await written()]))) found.push(entry)
  assert.deepEqual(
    found.map(entry => ({
      ...entry,
      name: Buffer.from(entry.name).toString('latin1'),
      xattrs: new Map([...entry.xattrs].sort()),
    })),
    hard.map(entry => ({
      ...entry,
      name: Buffer.from(entry.name).toString('latin1'),
      xattrs: new Map([...entry.xattrs].sort()),
    })),
  )
})

test('the same entries give the same bytes', async () => {
  assert.deepEqual(await written(), await written())
})

test('GNU tar reads what it wrote', async () => {
  const archive = join(base, 'ours.tar')
  writeFileSync(archive, await written())
  const listing = execFileSync('tar', ['--quoting-style=literal', '--numeric-owner', '-tvf', archive], {
    encoding: 'latin1',
  })
  const lines = listing.trimEnd().split('\n')
  assert.equal(lines.length, hard.length)
  assert.match(lines[0] ?? '', /^-rwsr-xr-x 0\/0 +5 .* plain$/)
  assert.ok(lines[2]?.includes('3000000/4000000000') && lines[2].endsWith(`${deep}/leaf`))
  assert.ok(lines[3]?.startsWith('drwxrwxrwt') && lines[3].endsWith('/'))
  assert.ok(lines[5]?.includes(` link to ${long}`))
})

test('modern-tar and we read each other', async () => {
  const theirs = await packTar([
    { header: { name: `${long}/a`, size: 3, mtime: new Date(1_600_000_000_000) }, body: 'abc' },
    { header: { name: 'dir/', type: 'directory', size: 0 } },
    { header: { name: 's', type: 'symlink', linkname: long, size: 0 } },
  ])
  const seen = await readAll(Readable.from([theirs]))
  assert.deepEqual([...seen.keys()], [`${long}/a`, 'dir', 's'])
  assert.equal(seen.get(`${long}/a`)?.mtime, 1_600_000_000_000_000_000n)
  const ours = await unpackTar(await written())
  assert.deepEqual(
    ours.slice(0, 4).map(({ header }) => [header.name, header.size]),
    [
      ['plain', 5],
      [long, 4],
      [`${deep}/leaf`, 0],
      [`${deep}/`, 0],
    ],
  )
})

test('a body of another length than told is an error', async () => {
  for (const text of ['abc', 'abcdefg'])
    await assert.rejects(
      Array.fromAsync(writeTar([{ entry: tarEntry({ name: 'x', size: 5 }), body: [Buffer.from(text)] }])),
      /was to have 5 bytes/,
    )
})

test('global headers hold for all entries, local ones win', async () => {
  const meta = (flag: string, records: Record<string, string>): Buffer => {
    const body = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)))
    const archive = join(base, 'meta')
    mkdirSync(archive, { recursive: true })
    writeFileSync(join(archive, 'h'), body)
    const tar = execFileSync('tar', ['--format=ustar', '-C', archive, '-b1', '-cf', '-', 'h'])
    const blocks = Buffer.from(tar.subarray(0, 512 + Math.ceil(body.length / 512) * 512))
    blocks.write(flag, 156)
    blocks.write('        ', 148)
    const sum = blocks.subarray(0, 512).reduce((total, byte) => total + byte, 0)
    blocks.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    return blocks
  }
  const plain = async (name: string): Promise<Buffer> =>
    Buffer.concat(await Array.fromAsync(writeTar([{ entry: tarEntry({ name }) }]))).subarray(0, 512)
  const archive = Buffer.concat([
    meta('g', { uid: '77', comment: 'x', gname: 'all' }),
    await plain('a'),
    meta('x', { uid: '5', path: 'renamed', mtime: '3.5' }),
    await plain('b'),
    await plain('c'),
    Buffer.alloc(1024),
  ])
  const seen = [...(await readAll(Readable.from([archive]))).values()]
  assert.deepEqual(
    seen.map(entry => [String(entry.name), entry.uid, entry.groupName, entry.mtime]),
    [
      ['a', 77, 'all', 0n],
      ['renamed', 5, 'all', 3_500_000_000n],
      ['c', 77, 'all', 0n],
    ],
  )
})

test('base-256 numbers are read', async () => {
  const archive = join(base, 'big.tar')
  execFileSync('tar', [
    '--format=gnu',
    '--owner=:3000000',
    '--mtime=@-5',
    '-C',
    tree,
    '-cf',
    archive,
    'plain',
  ])
  const [entry] = (await readAll(createReadStream(archive))).values()
  assert.deepEqual([entry?.uid, entry?.mtime], [3_000_000, -5_000_000_000n])
})

test('PAX times keep nanoseconds both ways', () => {
  for (const nanos of [0n, 1n, -1n, 1_700_000_000_123_456_789n, -1_500_000_000n, 1_000_000_000n])
    assert.equal(parsePaxTime(formatPaxTime(nanos), 'mtime'), nanos)
  assert.equal(parsePaxTime('1.1234567899', 'mtime'), 1_123_456_789n)
  for (const text of ['', 'x', '1e5', '--1', '1.2.3']) assert.throws(() => parsePaxTime(text, 'mtime'))
})

test('malformed PAX records are refused', () => {
  for (const text of ['x', '5 a=b', '6 a=b', '99 a=b\n', ' a=b\n', '-6 a=b\n', '5 ab\n', '4 =\n', '0 a=b\n'])
    assert.throws(() => parsePax(Buffer.from(text), new Map()), /PAX/, text)
})
