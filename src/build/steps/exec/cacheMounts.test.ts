import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import type { Put } from '../../../store/database.ts'
import { CacheMounts, type WantedCache } from './cacheMounts.ts'

let root: string
let documents: Map<string, unknown>
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'berth-cache-mounts-'))
  documents = new Map()
})
afterEach(() => rmSync(root, { recursive: true }))

const database = {
  load: async () => [...documents].map(([id, value]) => ({ id, value })),
  write: async (puts: readonly Put[]) => {
    for (const { id, value } of puts) {
      if (value === undefined) documents.delete(id)
      else documents.set(id, structuredClone(value))
    }
  },
}

const trash = {
  take: (taken: string): void => {
    mkdirSync(path.join(root, 'trash'), { recursive: true })
    if (existsSync(taken)) renameSync(taken, path.join(root, 'trash', path.basename(taken)))
  },
}

const open = async (): Promise<CacheMounts> => {
  const mounts = new CacheMounts({ root: path.join(root, 'mounts'), database, trash })
  await mounts.recover()
  return mounts
}

const wanted = (sharing: WantedCache['sharing'], more: Partial<WantedCache> = {}): WantedCache => ({
  key: 'pip',
  sharing,
  description: 'mount /root/.cache',
  owner: { uid: 0, gid: 0, mode: 0o750 },
  ...more,
})

const { signal } = new AbortController()

test('one folder for all that share it, which the next build finds again', async () => {
  const mounts = await open()
  const one = await mounts.take(wanted('shared'), signal)
  const other = await mounts.take(wanted('shared'), signal)
  assert.equal(other.path, one.path)
  assert.equal(statSync(one.path).mode & 0o777, 0o750)
  writeFileSync(path.join(one.path, 'kept'), '')
  await one[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
  await using later = await (await open()).take(wanted('shared'), signal)
  assert.deepEqual(readdirSync(later.path), ['kept'])
  await using different = await mounts.take(wanted('shared', { key: 'npm' }), signal)
  assert.notEqual(different.path, later.path)
})

test('private ones are alone, and reuse what is free', async () => {
  const mounts = await open()
  const one = await mounts.take(wanted('private'), signal)
  const other = await mounts.take(wanted('private'), signal)
  const shared = await mounts.take(wanted('shared'), signal)
  assert.equal(new Set([one.path, other.path, shared.path]).size, 3)
  await one[Symbol.asyncDispose]()
  await one[Symbol.asyncDispose]()
  await using again = await mounts.take(wanted('private'), signal)
  assert.equal(again.path, one.path)
  assert.equal(mounts.usage().length, 3)
})

test('locked ones wait for their turn, and an abort ends the wait', async () => {
  const mounts = await open()
  const first = await mounts.take(wanted('locked'), signal)
  const order: string[] = []
  const second = mounts.take(wanted('locked'), signal).then(held => {
    order.push('second')
    return held
  })
  const leaving = new AbortController()
  const third = mounts.take(wanted('locked'), leaving.signal)
  leaving.abort(new Error('left'))
  await assert.rejects(third, /left/)
  assert.deepEqual(order, [])
  await first[Symbol.asyncDispose]()
  assert.equal((await second).path, first.path)
  assert.equal(mounts.usage().length, 1)
})

test('several that want a new one at once get the same', async () => {
  const mounts = await open()
  const all = await Promise.all([1, 2, 3].map(() => mounts.take(wanted('shared'), signal)))
  assert.equal(new Set(all.map(held => held.path)).size, 1)
})

test('a filling that fails leaves nothing, and the next tries again', async () => {
  const mounts = await open()
  const failing = wanted('shared', { fill: () => Promise.reject(new Error('no space')) })
  await assert.rejects(mounts.take(failing, signal), /no space/)
  assert.deepEqual(readdirSync(path.join(root, 'mounts')), [])
  assert.equal(documents.size, 0)
  const filled = wanted('shared', { fill: async folder => writeFileSync(path.join(folder, 'from'), '') })
  await using held = await mounts.take(filled, signal)
  assert.deepEqual(readdirSync(held.path), ['from'])
})

test('what is used is not removed, and a folder and its record go together', async () => {
  const mounts = await open()
  const held = await mounts.take(wanted('shared'), signal)
  const [usage] = mounts.usage()
  assert.equal(usage?.inUse, true)
  assert.equal(await mounts.remove(usage?.id ?? ''), false)
  await held[Symbol.asyncDispose]()
  assert.equal(await mounts.remove(usage?.id ?? ''), true)
  assert.equal(existsSync(held.path), false)
  assert.equal(documents.size, 0)
  mkdirSync(path.join(root, 'mounts', 'stray'))
  documents.set('lost', { id: 'lost', key: 'pip' })
  assert.deepEqual((await open()).usage(), [])
  assert.deepEqual(readdirSync(path.join(root, 'mounts')), [])
  assert.equal(documents.size, 0)
})
