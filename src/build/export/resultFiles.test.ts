import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { BerthError } from '../../core/errors.ts'
import { readResultDirectory, readResultFile, statResultFile } from './resultFiles.ts'

let base: string
let root: string
before(() => {
  base = mkdtempSync(path.join(tmpdir(), 'berth-result-'))
  root = path.join(base, 'root')
  mkdirSync(path.join(root, 'etc/deep'), { recursive: true })
  writeFileSync(path.join(base, 'outside'), 'secret')
  writeFileSync(path.join(root, 'outside'), 'inside')
  writeFileSync(path.join(root, 'etc/name'), '0123456789', { mode: 0o640 })
  symlinkSync('../etc/name', path.join(root, 'etc/link'))
  symlinkSync('../../../../../outside', path.join(root, 'etc/deep/out'))
  symlinkSync('/etc', path.join(root, 'folder'))
  symlinkSync('loop', path.join(root, 'loop'))
})
after(() => rmSync(base, { recursive: true }))

const refused = (code: string) => (error: unknown) => error instanceof BerthError && error.code === code

const text = async (name: string, offset = 0, length?: number): Promise<string> =>
  (await readResultFile(root, { path: name, offset, ...(length === undefined ? {} : { length }) })).toString()

test('files are read whole and in parts, and links lead nowhere but into the result', async () => {
  assert.equal(await text('/etc/name'), '0123456789')
  assert.equal(await text('etc/link', 2, 3), '234')
  assert.equal(await text('folder/name', 8, 100), '89')
  assert.equal(await text('etc/name', 100), '')
  assert.equal(await text('etc/deep/out'), 'inside')
  assert.equal(await text('../../outside'), 'inside')
  await assert.rejects(text('nothing'), refused('not-found'))
  await assert.rejects(text('etc'), refused('bad-request'))
  await assert.rejects(text('loop'), refused('bad-request'))
})

test('no more is read than one message holds', async () => {
  const large = path.join(root, 'large')
  writeFileSync(large, '')
  truncateSync(large, 2 ** 40)
  await assert.rejects(text('large'), refused('too-large'))
  assert.equal((await text('large', 2 ** 39, 4)).length, 4)
  rmSync(large)
})

test('folders are listed by name, with what each entry is', () => {
  const names = (name: string, pattern = ''): string[] =>
    readResultDirectory(root, { path: name, pattern }).map(entry => entry.path)
  assert.deepEqual(names('/'), ['etc', 'folder', 'loop', 'outside'])
  assert.deepEqual(names('folder', 'n*'), ['name'])
  const [, link, file] = readResultDirectory(root, { path: 'etc', pattern: '' })
  assert.deepEqual([link?.target, link?.size], ['../etc/name', 11])
  assert.deepEqual([file?.mode, file?.size, file?.target], [0o100640, 10, ''])
  assert.throws(() => names('nothing'), refused('not-found'))
  assert.throws(() => names('outside'), refused('bad-request'))
})

test('what a path leads to is told', () => {
  const { path: name, mode, size } = statResultFile(root, '/etc/link')
  assert.deepEqual([name, mode, size], ['link', 0o100640, 10])
  assert.equal(statResultFile(root, '/').mode & 0o170000, 0o040000)
  assert.throws(() => statResultFile(root, 'etc/nothing'), refused('not-found'))
})
