import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { makePlaces } from './places.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'berth-places-'))
  mkdirSync(path.join(root, 'etc'))
})
afterEach(() => rmSync(root, { recursive: true }))

const at = (name: string): string => path.join(root, name)
const isThere = (name: string): boolean => existsSync(at(name))
const long = new Date('2001-02-03T04:05:06Z')

test('what is missing is made, and gone afterwards, the times of folders as they were', () => {
  utimesSync(at('etc'), long, long)
  utimesSync(root, long, long)
  const places = makePlaces(root, [
    { destination: '/etc/secret', isDirectory: false },
    { destination: '/a/b/c', isDirectory: true },
    { destination: '/etc', isDirectory: true },
  ])
  assert.ok(statSync(at('etc/secret')).isFile())
  assert.ok(statSync(at('a/b/c')).isDirectory())
  places[Symbol.dispose]()
  assert.deepEqual(readdirSync(root), ['etc'])
  assert.deepEqual(readdirSync(at('etc')), [])
  assert.equal(statSync(root).mtimeMs, long.getTime())
  assert.equal(statSync(at('etc')).mtimeMs, long.getTime())
})

test('what the step made of it stays', () => {
  const places = makePlaces(root, [
    { destination: '/a/b', isDirectory: true },
    { destination: '/file', isDirectory: false },
    { destination: '/link', isDirectory: false },
  ])
  writeFileSync(at('a/more'), '')
  writeFileSync(at('file'), 'text')
  rmSync(at('link'))
  symlinkSync('file', at('link'))
  places[Symbol.dispose]()
  assert.deepEqual(readdirSync(root).toSorted(), ['a', 'etc', 'file', 'link'])
  assert.deepEqual(readdirSync(at('a')), ['more'])
})

test('links lead nowhere else', () => {
  const outside = mkdtempSync(path.join(tmpdir(), 'berth-outside-'))
  try {
    symlinkSync(outside, at('away'))
    symlinkSync('/etc', at('inside'))
    const places = makePlaces(root, [{ destination: '/inside/new', isDirectory: true }])
    assert.ok(isThere('etc/new'))
    places[Symbol.dispose]()
    assert.throws(() => makePlaces(root, [{ destination: '/away/new', isDirectory: true }]), /ENOENT|EEXIST/)
    assert.deepEqual(readdirSync(outside), [])
    assert.deepEqual(readdirSync(at('etc')), [])
  } finally {
    rmSync(outside, { recursive: true })
  }
})
