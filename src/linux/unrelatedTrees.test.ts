import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { holdsUnrelatedTrees, makeTreesFolder } from './unrelatedTrees.ts'

const EXT4 = 0xef53

test('the folder is made with those above it, and made again nothing changes', t => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-trees-'))
  t.after(() => rmSync(base, { recursive: true }))
  const folder = path.join(base, 'above/trees')
  makeTreesFolder(folder, 0o700)
  makeTreesFolder(folder, 0o755)
  assert.equal(statSync(folder).mode & 0o777, 0o700)
  assert.equal(holdsUnrelatedTrees(folder), statfsSync(folder).type === EXT4)
  mkdirSync(path.join(folder, 'one'))
  assert.equal(holdsUnrelatedTrees(path.join(folder, 'one')), false)
})

test('a file system that has no such folders is taken as it is', t => {
  const base = mkdtempSync(path.join(tmpdir(), 'berth-trees-'))
  execFileSync('mount', ['-t', 'tmpfs', 'berth-test', base])
  t.after(() => {
    execFileSync('umount', [base])
    rmSync(base, { recursive: true })
  })
  makeTreesFolder(path.join(base, 'trees'), 0o700)
  assert.equal(holdsUnrelatedTrees(path.join(base, 'trees')), false)
})
