import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { hasCode } from '../core/errors.ts'
import { digestHex, digestOf } from '../oci/digest.ts'
import { openContentStore } from './content.ts'

const hello = Buffer.from('hello')

const withStore = async () => {
  const root = mkdtempSync('/tmp/berth-content-')
  const store = openContentStore(root)
  await store.recover()
  return {
    root,
    store,
    files: () => readdirSync(join(root, 'blobs/sha256')),
    [Symbol.dispose]: () => rmSync(root, { recursive: true }),
  }
}

const textOf = async (stream: Readable): Promise<string> =>
  Buffer.concat(await Array.fromAsync(stream)).toString()

test('stores by digest and reads back whole, in part and as a stream', async () => {
  using at = await withStore()
  const info = await at.store.write(Readable.from([Buffer.from('hel'), Buffer.from('lo')]))
  assert.deepEqual(info, { digest: digestOf('hello'), size: 5 })
  assert.deepEqual(await at.store.info(info.digest), info)
  assert.deepEqual(await at.store.bytes(info.digest), hello)
  assert.equal(await textOf(at.store.open(info.digest)), 'hello')
  assert.equal(await textOf(at.store.open(info.digest, { start: 1, end: 3 })), 'ell')
  assert.equal(await textOf(at.store.open(info.digest, { start: 3 })), 'lo')
  assert.equal(await textOf(at.store.open(info.digest, { start: 3, end: 2 })), '')
  assert.equal(readFileSync(at.store.path(info.digest), 'utf8'), 'hello')
  assert.deepEqual(await Array.fromAsync(at.store.list()), [info])
  await at.store.remove(info.digest)
  await at.store.remove(info.digest)
  assert.equal(await at.store.info(info.digest), undefined)
})

test('the same bytes twice, also at the same time, are one blob', async () => {
  using at = await withStore()
  await Promise.all([at.store.put(hello), at.store.put(hello), at.store.write([hello])])
  assert.deepEqual(at.files(), [digestHex(digestOf('hello'))])
})

test('what is not as expected leaves nothing', async () => {
  using at = await withStore()
  const digest = digestOf('hello')
  await assert.rejects(at.store.write([Buffer.from('other')], { expected: { digest } }), error =>
    hasCode(error, 'digest-mismatch'),
  )
  await assert.rejects(at.store.write([hello], { expected: { size: 6 } }), error =>
    hasCode(error, 'size-mismatch'),
  )
  let given = 0
  const endless = (function* () {
    for (;;) {
      given++
      yield hello
    }
  })()
  await assert.rejects(at.store.write(endless, { expected: { size: 6 } }), error =>
    hasCode(error, 'size-mismatch'),
  )
  assert.equal(given, 2, 'reading stops at the first byte too many')
  await assert.rejects(
    at.store.write(
      (function* () {
        yield hello
        throw new Error('cut')
      })(),
    ),
    /cut/,
  )
  assert.deepEqual(at.files(), [])
})

test('an abort ends a write and leaves nothing', async () => {
  using at = await withStore()
  const stop = new AbortController()
  const source = (async function* () {
    yield hello
    stop.abort()
    yield hello
  })()
  await assert.rejects(at.store.write(source, { signal: stop.signal }), error => hasCode(error, 'cancelled'))
  assert.deepEqual(at.files(), [])
})

test('absent and too large blobs are told', async () => {
  using at = await withStore()
  await assert.rejects(at.store.bytes(digestOf('none')), error => hasCode(error, 'not-found'))
  await assert.rejects(textOf(at.store.open(digestOf('none'))), error => hasCode(error, 'not-found'))
  const { digest } = await at.store.put(hello)
  await assert.rejects(at.store.bytes(digest, 4), error => hasCode(error, 'too-large'))
  assert.throws(() => at.store.path('sha256:../../etc/passwd'), /invalid digest/)
})

const script = `
import { openContentStore } from ${JSON.stringify(new URL('./content.ts', import.meta.url).href)}
const store = openContentStore(process.argv[1])
await store.recover()
await store.put(Buffer.from('hello'))
console.log('stored')
`

for (const point of ['blob.before-sync', 'blob.before-rename', 'blob.before-directory-sync', 'blob.after'])
  test(`killed at ${point}, a blob is whole or absent, and recovery leaves nothing else`, async () => {
    using at = await withStore()
    const killed = spawnSync(process.execPath, ['--input-type=module', '-e', script, at.root], {
      env: { ...process.env, BERTH_FAILPOINTS: `${point}=kill` },
      encoding: 'utf8',
    })
    assert.equal(killed.signal, 'SIGKILL', killed.stderr)
    await at.store.recover()
    const renamed = point === 'blob.before-directory-sync' || point === 'blob.after'
    assert.deepEqual(at.files(), renamed ? [digestHex(digestOf('hello'))] : [])
    if (renamed) assert.deepEqual(await at.store.bytes(digestOf('hello')), hello)
  })

test('recovery leaves blobs alone', async () => {
  using at = await withStore()
  await at.store.put(hello)
  writeFileSync(join(at.root, 'blobs/sha256/.new-abc'), 'half')
  await at.store.recover()
  assert.deepEqual(at.files(), [digestHex(digestOf('hello'))])
  assert.equal(existsSync(join(at.root, 'blobs/sha256/.new-abc')), false)
})
