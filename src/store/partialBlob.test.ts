import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { hasCode } from '../core/errors.ts'
import { digestHex, digestOf } from '../oci/digest.ts'
import { openContentStore } from './content.ts'

const text = 'hello, world'
const blob = { digest: digestOf(text), size: text.length }
const blobName = digestHex(blob.digest)
const partialName = `.partial-${blobName}`

const withStore = async () => {
  const root = mkdtempSync('/tmp/berth-partial-')
  const store = openContentStore(root)
  await store.recover()
  return {
    root,
    store,
    files: () => readdirSync(join(root, 'blobs/sha256')).sort(),
    file: (name: string) => join(root, 'blobs/sha256', name),
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  }
}

async function* bytes(...parts: string[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}

async function* cutAfter(part: string): AsyncGenerator<Buffer> {
  yield Buffer.from(part)
  throw new Error('cut')
}

test('a blob whose source fails goes on where it was', async () => {
  using at = await withStore()
  {
    await using partial = await at.store.partial(blob)
    assert.equal(partial.offset, 0)
    await assert.rejects(partial.append(cutAfter('hello, ')), /cut/)
    assert.equal(partial.offset, 7)
  }
  assert.deepEqual(at.files(), [partialName])
  assert.equal(await at.store.info(blob.digest), undefined)
  await at.store.recover()
  const again = openContentStore(at.root)
  await using partial = await again.partial(blob)
  assert.equal(partial.offset, 7)
  await partial.append(bytes('wor', 'ld'))
  assert.deepEqual(await partial.finish(), blob)
  assert.deepEqual(at.files(), [blobName])
  assert.equal((await again.bytes(blob.digest)).toString(), text)
})

test('an abort keeps what came, and says so', async () => {
  using at = await withStore()
  const stop = new AbortController()
  const source = (async function* () {
    yield Buffer.from('hel')
    stop.abort()
    yield Buffer.from('lo')
  })()
  {
    await using partial = await at.store.partial(blob)
    await assert.rejects(partial.append(source, { signal: stop.signal }), error =>
      hasCode(error, 'cancelled'),
    )
  }
  await using partial = await at.store.partial(blob)
  assert.equal(partial.offset, 3)
})

test('wrong bytes are an error, and the next begins from nothing', async () => {
  using at = await withStore()
  {
    await using partial = await at.store.partial(blob)
    await partial.append(bytes('HELLO, WORLD'))
    await assert.rejects(partial.finish(), error => hasCode(error, 'digest-mismatch'))
  }
  assert.deepEqual(at.files(), [])
  writeFileSync(at.file(partialName), 'more than the blob has')
  await using partial = await at.store.partial(blob)
  assert.equal(partial.offset, 0)
  await partial.append(bytes(text))
  await partial.finish()
  assert.deepEqual(at.files(), [blobName])
})

test('too many and too few bytes are told', async () => {
  using at = await withStore()
  await using partial = await at.store.partial(blob)
  await partial.append(bytes('hello'))
  await assert.rejects(partial.finish(), error => hasCode(error, 'size-mismatch'))
  await assert.rejects(partial.append(bytes(', world', '!')), error => hasCode(error, 'size-mismatch'))
  assert.equal(partial.offset, blob.size)
})

test('only one has it open; one that is stored meanwhile wins', async () => {
  using at = await withStore()
  {
    await using partial = await at.store.partial(blob)
    await assert.rejects(at.store.partial(blob), /being fetched already/)
    await partial.append(bytes(text))
    await at.store.put(Buffer.from(text))
    assert.deepEqual(await partial.finish(), blob)
  }
  assert.deepEqual(at.files(), [blobName])
})

test('a follower hears of what was there, of what comes, and of the end', async () => {
  using at = await withStore()
  const heard: string[] = []
  const follower = {
    grown: (path: string, size: number) => heard.push(`${path === at.file(partialName)} ${size}`),
    whole: (digest: string) => heard.push(digest),
  }
  writeFileSync(at.file(partialName), 'hello')
  await using partial = await at.store.partial(blob)
  await partial.append(bytes(', world'), { follower })
  await partial.finish()
  assert.equal(heard[0], 'true 5')
  assert.deepEqual(heard.slice(-2), ['true 12', blob.digest])
})

test('recovery drops old ones, and those whose blob is there; those that nobody has open can be dropped', async () => {
  using at = await withStore()
  const old = `.partial-${digestHex(digestOf('old'))}`
  const young = `.partial-${digestHex(digestOf('young'))}`
  for (const name of [old, young, partialName]) writeFileSync(at.file(name), 'he')
  const weekAgo = Date.now() / 1000 - 8 * 24 * 3600
  utimesSync(at.file(old), weekAgo, weekAgo)
  await at.store.put(Buffer.from(text))
  await at.store.recover()
  assert.deepEqual(at.files(), [young, blobName].sort())
  const open = { digest: digestOf('open'), size: 4 }
  await using partial = await at.store.partial(open)
  await partial.append(bytes('op'))
  const found = await Array.fromAsync(at.store.partials(), ({ digest, size }) => `${digest} ${size}`)
  assert.deepEqual(found.sort(), [`${digestOf('young')} 2`, `${digestOf('open')} 2`].sort())
  assert.equal(await at.store.dropPartials(), 2)
  assert.deepEqual(at.files(), [`.partial-${digestHex(open.digest)}`, blobName].sort())
})

const script = `
import { openContentStore } from ${JSON.stringify(new URL('./content.ts', import.meta.url).href)}
const store = openContentStore(process.argv[1])
await store.recover()
await using partial = await store.partial(${JSON.stringify(blob)})
await partial.append((async function* () { yield Buffer.from(${JSON.stringify(text)}) })())
await partial.finish()
`

const points = ['partial.appended', 'blob.before-sync', 'blob.before-rename', 'blob.before-directory-sync']
for (const point of points)
  test(`killed at ${point}, nothing that came is lost`, async () => {
    using at = await withStore()
    const killed = spawnSync(process.execPath, ['--input-type=module', '-e', script, at.root], {
      env: { ...process.env, BERTH_FAILPOINTS: `${point}=kill` },
      encoding: 'utf8',
    })
    assert.equal(killed.signal, 'SIGKILL', killed.stderr)
    await at.store.recover()
    if (point === 'blob.before-directory-sync') return assert.deepEqual(at.files(), [blobName])
    assert.deepEqual(at.files(), [partialName])
    await using partial = await at.store.partial(blob)
    assert.equal(partial.offset, blob.size)
    await partial.finish()
    assert.deepEqual(at.files(), [blobName])
  })
