import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { patience } from '../../../tests/harness/shell.ts'
import { ContextFolder } from './contextSync.ts'
import { ContextWorker } from './contextWorker.ts'
import { openFolderClient } from './testing/folderClient.ts'
import { fill, picture } from './testing/folders.ts'

const script = path.join(import.meta.dirname, 'testing/syncOnce.ts')

const syncOnce = (source: string, kept: string, failpoints = ''): NodeJS.Signals | null => {
  const env = { ...process.env, BERTH_FAILPOINTS: failpoints }
  const { signal, status, stderr } = spawnSync(process.execPath, [script, source, kept], { env })
  assert.ok(signal !== null || status === 0, stderr.toString())
  return signal
}

/** Changes of each kind to what `fill` made. */
const change = (source: string): void => {
  writeFileSync(path.join(source, 'a.d/two'), 'changed')
  writeFileSync(path.join(source, 'a/empty'), 'not empty any more')
  writeFileSync(path.join(source, 'new'), 'new')
  rmSync(path.join(source, 'a/link'))
  rmSync(path.join(source, 'large'))
  mkdirSync(path.join(source, 'large'))
  writeFileSync(path.join(source, 'large/file'), 'in a folder now')
}

const looks = (line: string): string => line.split(' ').slice(0, -1).join(' ')

/** Whatever has the name, the mode and the time of an entry is that entry. */
const assertWhole = (kept: string, source: string): void => {
  const wanted = new Map(picture(source).map(line => [looks(line), line]))
  for (const line of picture(kept)) {
    const same = wanted.get(looks(line))
    if (same !== undefined) assert.equal(line, same)
  }
}

const points = [
  'context.file',
  'context.file@2',
  'context.place',
  'context.place@2',
  'context.remove',
  'context.index',
]

for (const point of points)
  test(`killed at ${point}, the next sync is right, and its list is`, async t => {
    const base = mkdtempSync(path.join(tmpdir(), 'berth-sync-crash-'))
    t.after(() => rmSync(base, { recursive: true, force: true }))
    const [source, kept] = [path.join(base, 'source'), path.join(base, 'kept')]
    mkdirSync(source)
    fill(source)
    assert.equal(syncOnce(source, kept), null)
    linkSync(path.join(kept, 'a.d/two'), path.join(base, 'linked'))
    change(source)
    assert.equal(syncOnce(source, kept, point.replace(/(@\d)?$/, '=kill$1')), 'SIGKILL')
    // What is new and looks as the client's is whole.
    assertWhole(kept, source)

    await using worker = new ContextWorker()
    await using client = await openFolderClient({ context: source })
    const request = { name: 'context', differ: 'metadata' } as const
    const options = { session: client.session, request, signal: AbortSignal.timeout(60_000 * patience) }
    const tree = await new ContextFolder(kept, worker).sync(options)
    assert.deepEqual(picture(kept), picture(source))
    assert.equal(readFileSync(path.join(base, 'linked'), 'utf8'), 'two\n')
    assert.deepEqual(readdirSync(base).toSorted(), ['kept', 'kept.index', 'linked', 'source'])
    const lines = new Map(picture(source).map(line => [line.split(' ')[0], line.split(' ').at(-1)]))
    for (const { path: name, digest } of tree.entries)
      if (digest) assert.equal(digest, `sha256:${lines.get(name)}`, name)
  })

for (const point of ['context.file', 'context.file@2', 'context.file@4', 'context.index', 'context.index@2'])
  test(`killed at ${point} of a first sync, what has come is kept, and the rest comes`, async t => {
    const base = mkdtempSync(path.join(tmpdir(), 'berth-sync-crash-'))
    t.after(() => rmSync(base, { recursive: true, force: true }))
    const [source, kept] = [path.join(base, 'source'), path.join(base, 'kept')]
    mkdirSync(source)
    fill(source)
    assert.equal(syncOnce(source, kept, point.replace(/(@\d)?$/, '=kill$1')), 'SIGKILL')
    assertWhole(kept, source)
    assert.equal(syncOnce(source, kept), null)
    assert.deepEqual(picture(kept), picture(source))
  })
