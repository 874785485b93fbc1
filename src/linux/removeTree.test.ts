import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { removeTree } from './removeTree.ts'

const base = mkdtempSync(path.join(tmpdir(), 'berth-remove-tree-'))
after(() => rmSync(base, { recursive: true, force: true }))

test('a folder, a file, a link and what is not there', () => {
  const folder = path.join(base, 'folder')
  mkdirSync(path.join(folder, 'a/b'), { recursive: true })
  writeFileSync(path.join(folder, 'a/b/file'), '')
  symlinkSync(folder, path.join(base, 'link'))
  removeTree(path.join(base, 'link'))
  assert.ok(!existsSync(path.join(base, 'link')) && existsSync(path.join(folder, 'a/b/file')))
  removeTree(path.join(folder, 'a/b/file'))
  removeTree(folder)
  removeTree(folder)
  assert.ok(!existsSync(folder))
})

/** Another thread, that removes two files of each folder that is named by its number. */
const other = `
  const { unlinkSync } = require('node:fs')
  const { workerData: { base, turns } } = require('node:worker_threads')
  for (let last = 0; last >= 0; ) {
    while (Atomics.load(turns, 0) === last);
    last = Atomics.load(turns, 0)
    for (let pause = Math.random() * 3000; pause > 0; pause -= 1);
    for (const name of ['socket', 'exit'])
      try { unlinkSync(base + '/' + last + '/run/' + name) } catch {}
    Atomics.store(turns, 1, last)
  }`

test('nothing stays of a folder whose files somebody else removes at the same time', async () => {
  const turns = new Int32Array(new SharedArrayBuffer(8))
  const worker = new Worker(other, { eval: true, workerData: { base, turns } })
  try {
    for (let turn = 1; turn <= 1000; turn += 1) {
      const folder = path.join(base, String(turn))
      mkdirSync(path.join(folder, 'run'), { recursive: true })
      for (const name of ['config.json', 'socket', 'exit', 'spec'])
        writeFileSync(path.join(folder, 'run', name), '')
      Atomics.store(turns, 0, turn)
      for (let pause = Math.random() * 3000; pause > 0; pause -= 1);
      removeTree(folder)
      assert.ok(!existsSync(folder), `turn ${turn}`)
      while (Atomics.load(turns, 1) !== turn);
    }
  } finally {
    Atomics.store(turns, 0, -1)
    await worker.terminate()
  }
})
