import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keptAttributes, withoutPasswords } from './attributes.ts'

test('passwords and tokens in addresses are left out, whatever is around them', () => {
  const cases: [string, string][] = [
    ['https://user:word@host/x.git#main', 'https://xxxxx@host/x.git#main'],
    ['http://token@host:80/', 'http://xxxxx@host:80/'],
    ['a http://u:p@h b ftp://u:p@h', 'a http://xxxxx@h b ftp://xxxxx@h'],
    ['ssh://git@host/x', 'ssh://git@host/x'],
    ['ssh://git:word@host/x', 'ssh://xxxxx@host/x'],
    ['https://host/a@b', 'https://host/a@b'],
    ['name@sha256:abc', 'name@sha256:abc'],
  ]
  for (const [text, kept] of cases) assert.equal(withoutPasswords(text), kept)
})

test('a long text takes no longer than its length', { timeout: 5000 }, () => {
  for (const part of ['a.', 'a://', 'a:', 'a://b'])
    assert.equal(withoutPasswords(part.repeat(100_000)), part.repeat(100_000))
})

test('what is very long is cut', () => {
  const { long = '', short } = keptAttributes({ long: 'x'.repeat(1 << 20), short: 'y' })
  assert.equal(short, 'y')
  assert.match(long, /^x{65536}… \[cut: 1048576 characters\]$/)
})
