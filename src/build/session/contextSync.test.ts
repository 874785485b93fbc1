import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { patience } from '../../../tests/harness/shell.ts'
import { ContextFolder } from './contextSync.ts'
import { ContextWorker } from './contextWorker.ts'
import type { TestClient } from './testing/client.ts'
import {
  dataPacket,
  errorPacket,
  finPacket,
  listEnd,
  openFolderClient,
  openRawClient,
  statPacket,
} from './testing/folderClient.ts'
import { fill, picture } from './testing/folders.ts'
import type { ContextRequest, SyncedTree } from './types.ts'

const worker = new ContextWorker()
test.after(() => worker[Symbol.asyncDispose]())

const places = (t: TestContext): { source: string; kept: string; base: string } => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-sync-'))
  t.after(() => rmSync(base, { recursive: true, force: true }))
  mkdirSync(path.join(base, 'source'))
  return { base, source: path.join(base, 'source'), kept: path.join(base, 'kept') }
}

const metadata: ContextRequest = { name: 'context', differ: 'metadata' }

const syncFrom = (
  client: TestClient,
  kept: string,
  request: ContextRequest = metadata,
  signal = AbortSignal.timeout(60_000 * patience),
): Promise<SyncedTree> => new ContextFolder(kept, worker).sync({ session: client.session, request, signal })

const sync = async (source: string, kept: string): Promise<SyncedTree> => {
  await using client = await openFolderClient({ context: source })
  return await syncFrom(client, kept)
}

test('a folder comes as it is, and its list tells what is in it', async t => {
  const { source, kept } = places(t)
  fill(source)
  const tree = await sync(source, kept)
  assert.deepEqual(picture(kept), picture(source))
  assert.equal(lstatSync(path.join(kept, 'z-same')).ino, lstatSync(path.join(kept, 'a/b/one')).ino)
  assert.deepEqual(
    tree.entries.map(entry => `${entry.kind} ${entry.path} ${entry.mode.toString(8)} ${entry.size}`),
    [
      'directory a 755 0',
      'directory a/b 1770 0',
      'file a/b/one 644 4',
      'file a/empty 644 0',
      'link a/link 777 0',
      'directory a.d 755 0',
      'file a.d/two 755 4',
      'file large 644 3000000',
      'file z-same 644 4',
    ].toSorted((one, other) => {
      const order = (line: string): string => (line.split(' ')[1] ?? '').replaceAll('/', '\0')
      return order(one) < order(other) ? -1 : 1
    }),
  )
  const digests = new Map(tree.entries.map(entry => [entry.path, entry.digest]))
  const digestOf = (bytes: string | Buffer): string =>
    `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  assert.equal(digests.get('a/b/one'), digestOf('one\n'))
  assert.equal(digests.get('z-same'), digestOf('one\n'))
  assert.equal(digests.get('large'), digestOf(Buffer.alloc(3_000_000, 'berth')))
  assert.equal(digests.get('a/empty'), digestOf(''))
  assert.equal(digests.get('a'), undefined)
  assert.deepEqual(tree.received, { files: 4, bytes: 3_000_008 })
})

test('the second time nothing comes that is there, and the list is the same', async t => {
  const { source, kept } = places(t)
  fill(source)
  const first = await sync(source, kept)
  const before = lstatSync(path.join(kept, 'large')).ino
  const second = await sync(source, kept)
  assert.deepEqual(second.received, { files: 0, bytes: 0 })
  assert.deepEqual(second.entries, first.entries)
  assert.equal(lstatSync(path.join(kept, 'large')).ino, before)
})

test('without the index nobody knows whether files are whole: all of them come', async t => {
  const { source, kept } = places(t)
  fill(source)
  const first = await sync(source, kept)
  rmSync(`${kept}.index`)
  const second = await sync(source, kept)
  assert.deepEqual(second.received, first.received)
  assert.deepEqual(second.entries, first.entries)
  assert.deepEqual(picture(kept), picture(source))
  assert.equal((await sync(source, kept)).received.files, 0)
})

test('after a start of the machine what was damaged comes again', async t => {
  const { source, kept } = places(t)
  fill(source)
  await sync(source, kept)
  const index = JSON.parse(readFileSync(`${kept}.index`, 'utf8')) as { boot: string }
  writeFileSync(`${kept}.index`, JSON.stringify({ ...index, boot: 'another' }))
  const damaged = path.join(kept, 'a.d/two')
  const stat = lstatSync(damaged, { bigint: true })
  writeFileSync(damaged, 'tw\0\n')
  utimesSync(damaged, Number(stat.mtimeNs) / 1e9, Number(stat.mtimeNs) / 1e9)
  // A double has not all digits of the time; the source follows.
  const { mtimeMs } = lstatSync(damaged)
  utimesSync(path.join(source, 'a.d/two'), mtimeMs / 1000, mtimeMs / 1000)
  utimesSync(damaged, mtimeMs / 1000, mtimeMs / 1000)
  await sync(source, kept)
  assert.equal(readFileSync(damaged, 'utf8'), 'two\n')
  assert.deepEqual(picture(kept), picture(source))
})

test('what changed comes, what is gone goes, and files that others have linked stay as they were', async t => {
  const { base, source, kept } = places(t)
  fill(source)
  await sync(source, kept)
  const snapshot = path.join(base, 'snapshot')
  linkSync(path.join(kept, 'a.d/two'), snapshot)
  const before = lstatSync(snapshot, { bigint: true })
  writeFileSync(path.join(source, 'a.d/two'), 'other\n')
  chmodSync(path.join(source, 'a/empty'), 0o600)
  rmSync(path.join(source, 'a/b'), { recursive: true })
  writeFileSync(path.join(source, 'a/b'), 'a file now')
  rmSync(path.join(source, 'large'))
  mkdirSync(path.join(source, 'large'))
  writeFileSync(path.join(source, 'large/in it'), 'x')
  rmSync(path.join(source, 'a/link'))
  writeFileSync(path.join(source, 'a/link'), 'no link')
  const tree = await sync(source, kept)
  assert.deepEqual(picture(kept), picture(source))
  assert.equal(readFileSync(snapshot, 'utf8'), 'two\n')
  const after = lstatSync(snapshot, { bigint: true })
  assert.deepEqual([after.mtimeNs, after.mode, after.ino], [before.mtimeNs, before.mode, before.ino])
  assert.ok(!tree.entries.some(entry => entry.path.startsWith('a/b/')))
})

test('names that were one file part where the client parted them, and the other way round', async t => {
  const { source, kept } = places(t)
  fill(source)
  await sync(source, kept)
  const stat = lstatSync(path.join(source, 'a/b/one'))
  rmSync(path.join(source, 'z-same'))
  writeFileSync(path.join(source, 'z-same'), 'two\n')
  utimesSync(path.join(source, 'z-same'), 2_000, 2_000)
  utimesSync(path.join(source, 'a/b/one'), 2_000, 2_000)
  assert.equal(stat.size, 4)
  await sync(source, kept)
  assert.deepEqual(picture(kept), picture(source))
  rmSync(path.join(source, 'z-same'))
  linkSync(path.join(source, 'large'), path.join(source, 'z-same'))
  await sync(source, kept)
  assert.equal(lstatSync(path.join(kept, 'z-same')).ino, lstatSync(path.join(kept, 'large')).ino)
  assert.deepEqual(readdirSync(path.dirname(kept)).toSorted(), ['kept', 'kept.index', 'source'])
})

test('names need not be UTF-8', async t => {
  const { source, kept } = places(t)
  const name = Buffer.concat([Buffer.from(`${source}/`), Buffer.from([0x66, 0xff, 0xfe])])
  writeFileSync(name, 'bytes')
  const tree = await sync(source, kept)
  assert.equal(tree.entries[0]?.path, 'f\xff\xfe')
  assert.deepEqual(readdirSync(kept, { encoding: 'buffer' }), [Buffer.from([0x66, 0xff, 0xfe])])
})

test('differ none: all files come anew', async t => {
  const { source, kept } = places(t)
  fill(source)
  await sync(source, kept)
  await using client = await openFolderClient({ context: source })
  const tree = await syncFrom(client, kept, { name: 'context', differ: 'none' })
  assert.equal(tree.received.files, 4)
  assert.deepEqual(picture(kept), picture(source))
})

test('patterns go as fields of their own, escaped where they need it', async t => {
  const { source, kept } = places(t)
  const seen: Headers[] = []
  await using client = await openFolderClient({ context: source }, headers => seen.push(headers))
  const request: ContextRequest = {
    ...metadata,
    include: ['a', 'b, c'],
    exclude: ['grün/ *', 'plain'],
    follow: ['x', 'y', 'z'],
  }
  await syncFrom(client, kept, request)
  const [headers] = seen
  assert.equal(headers?.get('include-patterns'), 'a, b, c')
  assert.equal(headers?.get('exclude-patterns'), 'gr%C3%BCn%2F+%2A, plain')
  assert.equal(headers?.get('exclude-patterns-encoded'), '1')
  assert.equal(headers?.get('followpaths'), 'x, y, z')
  assert.equal(headers?.get('followpaths-encoded'), null)
})

const refusedPaths: [string, RegExp][] = [
  ['../out', /escape check "..\/out": invalid argument/],
  ['a/../../out', /escape check/],
  ['/etc/passwd', /absolute path/],
  ['a//b', /unclean path/],
  ['./a', /unclean path/],
  ['', /unclean path/],
  ['link/in', /changes out of order/],
  ['a/b', /changes out of order/],
]

for (const [name, message] of refusedPaths)
  test(`a client that names ${JSON.stringify(name)} is refused, and nothing is written outside`, async t => {
    const { base, kept } = places(t)
    const outside = path.join(base, 'outside')
    mkdirSync(outside)
    await using client = await openRawClient(async function* () {
      yield statPacket({ path: 'link', mode: 2 ** 27 + 0o777, linkname: outside })
      yield statPacket({ path: name })
      yield listEnd()
      yield dataPacket(1, 'evil')
      yield dataPacket(1, '')
      await new Promise(() => {})
    })
    await assert.rejects(syncFrom(client, kept), message)
    assert.deepEqual(readdirSync(outside), [])
    assert.deepEqual(readdirSync(base).toSorted(), ['kept', 'kept.index', 'outside', 'source'])
  })

test('a link that an earlier sync left is no way out', async t => {
  const { base, kept, source } = places(t)
  const outside = path.join(base, 'outside')
  mkdirSync(outside)
  symlinkSync(outside, path.join(source, 'd'))
  await sync(source, kept)
  rmSync(path.join(source, 'd'))
  mkdirSync(path.join(source, 'd'))
  writeFileSync(path.join(source, 'd/file'), 'inside')
  await sync(source, kept)
  assert.deepEqual(readdirSync(outside), [])
  assert.equal(readFileSync(path.join(kept, 'd/file'), 'utf8'), 'inside')
})

test('what no sender sends is refused', async t => {
  const { kept } = places(t)
  const cases: [() => AsyncIterable<ReturnType<typeof listEnd>>, RegExp][] = [
    [
      async function* () {
        yield dataPacket(7, 'x')
      },
      /invalid file request 7/,
    ],
    [
      async function* () {
        yield statPacket({ path: 'b' })
        yield statPacket({ path: 'a' })
      },
      /changes out of order/,
    ],
    [
      async function* () {
        yield statPacket({ path: 'b' })
        yield statPacket({ path: 'b' })
      },
      /changes out of order/,
    ],
    [
      async function* () {
        yield statPacket({ path: 'b', linkname: 'a' })
      },
      /invalid link "b" to unknown path: "a"/,
    ],
    [
      async function* () {
        yield statPacket({ path: 's', mode: 2 ** 24 })
      },
      /no kind of file/,
    ],
    [
      async function* () {
        yield errorPacket('open /x: permission denied')
      },
      /error from sender: open \/x: permission denied/,
    ],
    [
      async function* () {
        yield statPacket({ path: 'a' })
        yield listEnd()
        yield finPacket()
      },
      /ended before all/,
    ],
  ]
  for (const [packets, message] of cases) {
    await using client = await openRawClient(packets)
    await assert.rejects(syncFrom(client, kept), message)
  }
})

test('a folder that the client does not give', async t => {
  const { kept } = places(t)
  await using client = await openFolderClient({})
  await assert.rejects(syncFrom(client, kept), {
    code: 'not-found',
    message: 'rpc error: code = NotFound desc = no access allowed to dir "context"',
  })
})

test('a sync that is aborted leaves what the next one finishes', async t => {
  const { source, kept } = places(t)
  fill(source)
  const controller = new AbortController()
  await using client = await openRawClient(async function* (requests) {
    yield statPacket({ path: 'large', size: 5n })
    yield listEnd()
    for await (const { id } of requests) {
      yield dataPacket(id, 'half ')
      controller.abort(new Error('stopped'))
      await new Promise(() => {})
    }
  })
  await assert.rejects(syncFrom(client, kept, metadata, controller.signal), /stopped/)
  assert.deepEqual(readdirSync(kept), [])
  await sync(source, kept)
  assert.deepEqual(picture(kept), picture(source))
})

test('a client that leaves in between fails the sync', async t => {
  const { kept } = places(t)
  await using client = await openRawClient(async function* () {
    yield statPacket({ path: 'a' })
    setImmediate(() => client.socket.destroy())
    await new Promise(() => {})
  })
  await assert.rejects(syncFrom(client, kept), { code: 'session-closed' })
})

const empty = (folder: string): void => {
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name))
}

test('a folder that is as it was costs its list, and keeps its version', async t => {
  const { source, kept } = places(t)
  for (let index = 0; index < 3000; index++) writeFileSync(path.join(source, `file-${index}`), `${index}`)
  await using client = await openFolderClient({ context: source })
  const folder = new ContextFolder(kept, worker)
  const sync = () =>
    folder.sync({
      session: client.session,
      request: metadata,
      signal: AbortSignal.timeout(60_000 * patience),
    })
  const first = await sync()
  assert.deepEqual([first.entries.length, first.received.files], [3000, 3000])
  const second = await sync()
  assert.deepEqual([second.entries.length, second.received.files], [0, 0])
  assert.equal(second.version, first.version)
  const edits: [what: string, edit: () => void, came: number][] = [
    ['changed at the beginning', () => writeFileSync(path.join(source, 'file-0'), 'other'), 1],
    ['changed at the end', () => writeFileSync(path.join(source, 'file-999'), 'other'), 1],
    ['a last one more', () => writeFileSync(path.join(source, 'last'), ''), 1],
    ['the last one gone', () => rmSync(path.join(source, 'last')), 0],
    ['only a mode', () => chmodSync(path.join(source, 'file-5'), 0o600), 1],
    ['all gone', () => empty(source), 0],
    ['one again', () => writeFileSync(path.join(source, 'one'), '1'), 1],
  ]
  let { version } = second
  for (const [what, edit, came] of edits) {
    edit()
    const changed = await sync()
    assert.notEqual(changed.version, version, what)
    assert.equal(changed.received.files, came, what)
    assert.deepEqual(readdirSync(kept).sort(), readdirSync(source).sort(), what)
    const again = await sync()
    assert.equal(again.version, changed.version, what)
    version = again.version
  }
})

test('a folder that was taken away comes anew', async t => {
  const { source, kept } = places(t)
  fill(source)
  await using client = await openFolderClient({ context: source })
  const folder = new ContextFolder(kept, worker)
  const sync = () =>
    folder.sync({
      session: client.session,
      request: metadata,
      signal: AbortSignal.timeout(60_000 * patience),
    })
  const { version } = await sync()
  rmSync(kept, { recursive: true })
  const anew = await sync()
  assert.notEqual(anew.version, version)
  assert.equal(anew.received.files, 4)
})

test('several folders come at once, by sessions and by calls of one', async t => {
  const [one, two] = [places(t), places(t)]
  fill(one.source)
  fill(two.source)
  writeFileSync(path.join(two.source, 'more'), Buffer.alloc(2_000_000, 'more'))
  await using first = await openFolderClient({ context: one.source, other: two.source })
  await using second = await openFolderClient({ context: two.source })
  const [third, fourth] = [path.join(one.base, 'third'), path.join(two.base, 'fourth')]
  await Promise.all([
    syncFrom(first, one.kept),
    syncFrom(first, third, { name: 'other', differ: 'metadata' }),
    syncFrom(second, two.kept),
    syncFrom(second, fourth),
  ])
  assert.deepEqual(picture(one.kept), picture(one.source))
  for (const kept of [two.kept, third, fourth]) assert.deepEqual(picture(kept), picture(two.source))
})
