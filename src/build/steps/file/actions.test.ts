import assert from 'node:assert/strict'
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { FileAction } from '../../graph/types.ts'
import { openFolders } from '../testing/folders.ts'

const directory = (path: string, more: object = {}): FileAction => ({
  kind: 'makeDirectory',
  path,
  mode: 0o750,
  parents: true,
  ...more,
})

const file = (path: string, content = 'x', more: object = {}): FileAction => ({
  kind: 'makeFile',
  path,
  content,
  mode: 0o640,
  ...more,
})

const removal = (path: string, more: object = {}): FileAction => ({
  kind: 'remove',
  path,
  allowMissing: false,
  wildcards: false,
  ...more,
})

describe('directories', () => {
  test('with those on the way, of their owner; one that is there stays as it is', async () => {
    await using folders = openFolders()
    const base = folders.folder()
    mkdirSync(join(base, 'a'))
    const outcome = await folders.run(
      [
        directory('/a/b/c', { owner: { user: '3', group: '4', names: 'base' } }),
        directory('/a', { mode: 0o700 }),
      ],
      { base: [base] },
    )
    assert.deepEqual(outcome.tree(), ['a 40755 0:0', 'a/b 40750 3:4', 'a/b/c 40750 3:4'])
  })

  test('alone, where its own must be there', async () => {
    await using folders = openFolders()
    const outcome = await folders.run([
      directory('/a', { parents: false }),
      directory('/a', { parents: false }),
    ])
    assert.deepEqual(outcome.tree(), ['a 40750 0:0'])
    await assert.rejects(
      folders.run([directory('/a/b', { parents: false })]),
      /^BerthError: mkdir \/a\/b: no such file or directory$/,
    )
  })

  test('no link leads them out', async () => {
    await using folders = openFolders()
    const outside = folders.folder()
    const base = folders.folder()
    symlinkSync(outside, join(base, 'a'))
    const outcome = await folders.run([directory('/a/b'), directory('/../../c')], { base: [base] })
    assert.equal(existsSync(join(outside, 'b')), false)
    assert.ok(existsSync(join(outcome.path, outside, 'b')) && existsSync(join(outcome.path, 'c')))
  })
})

describe('files', () => {
  test('with mode and owner; one that is there keeps them', async () => {
    await using folders = openFolders()
    const base = folders.folder()
    writeFileSync(join(base, 'old'), 'longer than that', { mode: 0o604 })
    const owner = { user: '3', names: 'base' }
    const outcome = await folders.run([file('/new', 'text\n', { owner }), file('/old', 'x')], {
      base: [base],
    })
    assert.deepEqual(outcome.tree(), ['new 100640 3:3 text\n', 'old 100604 0:0 x'])
    assert.equal(statSync(join(base, 'old')).size, 16)
  })

  test('through a link, within the tree', async () => {
    await using folders = openFolders()
    const outside = folders.folder()
    const base = folders.folder()
    symlinkSync(join(outside, 'f'), join(base, 'link'))
    mkdirSync(join(base, outside), { recursive: true })
    const outcome = await folders.run([file('/link')], { base: [base] })
    assert.equal(existsSync(join(outside, 'f')), false)
    assert.ok(existsSync(join(outcome.path, outside, 'f')))
  })

  test('what cannot be is told', async () => {
    await using folders = openFolders()
    await assert.rejects(folders.run([file('/a/b')]), /open \/a\/b: no such file or directory/)
    await assert.rejects(folders.run([directory('/a'), file('/a')]), /open \/a: is a directory/)
    await assert.rejects(folders.run([file('/a'), file('/a/b')]), /open \/a\/b: not a directory/)
  })
})

describe('removal', () => {
  test('of a tree, a file and a link, of the base and of what was just made', async () => {
    await using folders = openFolders()
    const base = folders.folder()
    mkdirSync(join(base, 'd/e'), { recursive: true })
    writeFileSync(join(base, 'f'), '')
    symlinkSync('d', join(base, 'l'))
    const outcome = await folders.run(
      [
        file('/d/new'),
        removal('/l'),
        removal('/d'),
        removal('/f'),
        file('/g'),
        removal('/g'),
        directory('/kept'),
      ],
      { base: [base] },
    )
    assert.deepEqual(outcome.tree(), ['kept 40750 0:0'])
    assert.ok(existsSync(join(base, 'd/e')))
    assert.ok(!existsSync(join(outcome.path, 'g')))
  })

  test('by a pattern', async () => {
    await using folders = openFolders()
    const base = folders.folder()
    for (const name of ['a.log', 'b.log', 'c.txt']) writeFileSync(join(base, name), '')
    const outcome = await folders.run([file('/d.log'), removal('/*.log', { wildcards: true })], {
      base: [base],
    })
    assert.deepEqual(outcome.tree(), ['c.txt 100644 0:0 '])
  })

  test('of what is not there, and of all', async () => {
    await using folders = openFolders()
    await folders.run([removal('/no', { allowMissing: true })])
    await assert.rejects(folders.run([removal('/no')]), /stat \/no: no such file or directory/)
    await assert.rejects(folders.run([removal('/')]), /invalid empty path/)
    await assert.rejects(folders.run([removal('/a/..')]), /invalid empty path/)
  })
})
