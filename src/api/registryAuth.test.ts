import assert from 'node:assert/strict'
import { test } from 'node:test'
import { registryCredentials } from './registryAuth.ts'
import type { Call } from './route.ts'

const header = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

const usersOf = (headers: Record<string, string>) => {
  const find = registryCredentials({ req: { headers } } as unknown as Call)
  return (registry: string): string | undefined => find(registry)?.username
}

test('credentials are for the registry that they name, and for no other', () => {
  const find = usersOf({
    'x-registry-auth': header({ username: 'ann', serveraddress: 'https://index.docker.io/v1/' }),
    'x-registry-config': header({ 'registry.example:5000': { username: 'bob' } }),
  })
  assert.deepEqual(['docker.io', 'registry.example:5000', 'registry.example', 'evil.example'].map(find), [
    'ann',
    'bob',
    undefined,
    undefined,
  ])
})

test('credentials without a registry, and headers that cannot be read, count as none', () => {
  assert.equal(usersOf({ 'x-registry-auth': header({ username: 'ann' }) })('docker.io'), undefined)
  assert.equal(usersOf({ 'x-registry-auth': '!', 'x-registry-config': header(5) })('docker.io'), undefined)
})
