import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { octalMode, parseMode } from './mode.ts'

const folder = mkdtempSync('/tmp/berth-mode-')
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

/** What chmod(1) makes of it, where no umask is in the way. */
const chmod = (text: string, mode: number, isDirectory: boolean): number => {
  const path = join(folder, 'x')
  rmSync(path, { recursive: true, force: true })
  if (isDirectory) mkdirSync(path)
  else writeFileSync(path, '')
  chmodSync(path, mode)
  execFileSync('sh', ['-c', 'umask 0; chmod -- "$1" "$2"', 'sh', text, path])
  return statSync(path).mode & 0o7777
}

for (const text of [
  '644',
  'u=rwX,go=rX',
  'a+x',
  '+x',
  'go-rwx',
  'u+s,g+s',
  '+t',
  'o=',
  'g=u',
  'g=u,o=g',
  'u=rw,u+X',
  'a=X',
  'ug+rw-x',
  'u-X',
  'o+w,o-w',
  'a=rwx,g-w,o-wx',
])
  test(`${text} is what chmod makes of it`, () => {
    for (const mode of [0o644, 0o755, 0o600, 0o711])
      for (const isDirectory of [false, true]) {
        const expected = chmod(text, mode, isDirectory)
        const got = parseMode(text)(mode, isDirectory)
        assert.equal(got.toString(8), expected.toString(8), `of ${mode.toString(8)}, ${isDirectory}`)
      }
  })

test('what is no mode is told', () => {
  for (const text of ['', 'x', 'u', 'u=q', '8', '=r,,', 'u=r,'])
    assert.throws(() => parseMode(text), /invalid syntax/, text)
})

test('octal ones are told apart', () => {
  assert.deepEqual(['0755', '4711', 'u=r', ''].map(octalMode), [0o755, 0o4711, undefined, undefined])
})
