import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { sealedProgram } from './sealedProgram.ts'

const folder = (t: TestContext): string => {
  const made = mkdtempSync('/tmp/berth-sealed-')
  t.after(() => rmSync(made, { recursive: true }))
  return made
}

test('a program is run from its copy, which nobody can change, and which follows the file', t => {
  const file = path.join(folder(t), 'program')
  copyFileSync('/bin/true', file)
  const fd = sealedProgram(file)
  assert.ok(fd !== undefined)
  const copy = `/proc/${process.pid}/fd/${fd}`
  execFileSync(copy)
  assert.throws(() => writeFileSync(copy, 'x'), /EPERM|ETXTBSY/)
  assert.equal(sealedProgram(file), fd)
  // An update replaces the file, as package managers do.
  copyFileSync('/bin/false', `${file}.new`)
  renameSync(`${file}.new`, file)
  const next = sealedProgram(file)
  assert.ok(next !== undefined)
  assert.throws(() => execFileSync(`/proc/${process.pid}/fd/${next}`))
})

test('a script, and what is not there, have no copy', t => {
  const file = path.join(folder(t), 'script')
  writeFileSync(file, '#!/bin/sh\n')
  chmodSync(file, 0o755)
  assert.equal(sealedProgram(file), undefined)
  assert.equal(sealedProgram(`${file}.not`), undefined)
})
