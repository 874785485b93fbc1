import assert from 'node:assert/strict'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { absolutePath, followLinks, goFileMode, lastElement, pathStat } from './pathStat.ts'

describe('paths of docker cp', () => {
  it('are made absolute, and keep what says "its content"', () => {
    const cases = {
      a: '/a',
      '/a/../b': '/b',
      '../../x': '/x',
      'a/': '/a/',
      'a/.': '/a/.',
      '/': '/',
      '.': '/.',
      'a/..': '/',
    }
    for (const [given, wanted] of Object.entries(cases)) assert.equal(absolutePath(given), wanted, given)
  })

  it('have a last element as Go tells it', () => {
    const cases = { '/': '/', '/a/': 'a', '/a/.': '.', '/a/b': 'b' }
    for (const [given, wanted] of Object.entries(cases)) assert.equal(lastElement(given), wanted, given)
  })

  it('have modes as Go writes them', () => {
    assert.equal(goFileMode(0o100644), 0o644)
    assert.equal(goFileMode(0o041777), 2 ** 31 + 2 ** 20 + 0o777)
    assert.equal(goFileMode(0o120777), 2 ** 27 + 0o777)
    assert.equal(goFileMode(0o104755), 2 ** 23 + 0o755)
    assert.equal(goFileMode(0o020600), 2 ** 26 + 2 ** 21 + 0o600)
  })
})

describe('links inside a root', () => {
  let folder = ''
  let root = -1
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'berth-paths-'))
    mkdirSync(path.join(folder, 'a/b'), { recursive: true })
    writeFileSync(path.join(folder, 'a/b/file'), '1234')
    symlinkSync('/a/b', path.join(folder, 'absolute'))
    symlinkSync('../../../../a', path.join(folder, 'a/b/climbing'))
    symlinkSync('missing/x', path.join(folder, 'broken'))
    symlinkSync('loop', path.join(folder, 'loop'))
    root = openSync(folder, 'r')
  })
  after(() => {
    closeSync(root)
    rmSync(folder, { recursive: true })
  })

  it('lead nowhere but inside', () => {
    assert.equal(followLinks(root, '/absolute/file'), '/a/b/file')
    assert.equal(followLinks(root, '/a/b/climbing/b'), '/a/b')
    assert.equal(followLinks(root, '/broken/y'), '/missing/x/y')
    assert.equal(followLinks(root, '/../..'), '/')
  })

  it('end where they go in circles', () => {
    assert.equal(followLinks(root, '/loop'), '/loop')
  })

  it('are told with their target, and followed where a slash ends them', () => {
    assert.equal(pathStat(root, '/absolute').linkTarget, '/a/b')
    assert.equal(pathStat(root, '/absolute/').linkTarget, '')
    assert.equal(pathStat(root, '/a/b/file').size, 4)
    assert.throws(() => pathStat(root, '/nothing'), { code: 'ENOENT' })
    assert.throws(() => pathStat(root, '/a/b/file/'), { code: 'ENOTDIR' })
  })
})
