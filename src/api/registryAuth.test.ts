import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeRegistryAuth, registryCredentials } from './registryAuth.ts'
import type { Call } from './route.ts'

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')

test('what clients send for no credentials is none', () => {
  for (const header of ['', ' ', 'e30=', 'e30', 'bnVsbA==', encoded({ username: '', auth: '' })])
    assert.equal(decodeRegistryAuth(header), undefined, header)
})

test('credentials are read in both alphabets, padded or not', () => {
  const secret = '~~~???>>>ü'
  const header = encoded({ username: 'anna', password: secret, serveraddress: 'r.example' })
  assert.match(header, /[+/]/)
  const url = header.replaceAll('+', '-').replaceAll('/', '_')
  for (const text of [header, url, url.replace(/=+$/, ''), ` ${header} `])
    assert.deepEqual(decodeRegistryAuth(text), {
      username: 'anna',
      password: secret,
      identityToken: '',
      registryToken: '',
    })
})

test('anything else is refused, and not shown', () => {
  const cases: [header: string, why: RegExp][] = [
    ['no base64!', /invalid X-Registry-Auth header: must be a valid base64url-encoded string/],
    [Buffer.from('{"password":"hidden"').toString('base64'), /header: invalid JSON; /],
    [encoded('hidden'), /header: invalid JSON: want an object/],
    [encoded(['hidden']), /want an object/],
    [encoded({ username: { hidden: 1 } }), /invalid JSON: username must be a text/],
  ]
  for (const [header, message] of cases)
    assert.throws(
      () => decodeRegistryAuth(header),
      (error: Error & { status?: number }) =>
        error.status === 400 && message.test(error.message) && !/hidden/.test(error.message),
      header,
    )
})

const usersOf = (headers: Record<string, string>) => {
  const find = registryCredentials({ req: { headers } } as unknown as Call)
  return (registry: string): string | undefined => find(registry)?.username
}

test('credentials are for the registry that they name, and for no other', () => {
  const find = usersOf({
    'x-registry-auth': encoded({ username: 'ann', serveraddress: 'https://index.docker.io/v1/' }),
    'x-registry-config': encoded({ 'registry.example:5000': { username: 'bob' } }),
  })
  assert.deepEqual(['docker.io', 'registry.example:5000', 'registry.example', 'evil.example'].map(find), [
    'ann',
    'bob',
    undefined,
    undefined,
  ])
})

test('credentials without a registry count as none, and headers that cannot be read are refused', () => {
  assert.equal(usersOf({ 'x-registry-auth': encoded({ username: 'ann' }) })('docker.io'), undefined)
  assert.throws(() => usersOf({ 'x-registry-auth': '!' }), /invalid X-Registry-Auth header/)
  assert.throws(() => usersOf({ 'x-registry-config': encoded([5]) }), /invalid X-Registry-Config header/)
})
