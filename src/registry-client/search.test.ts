import assert from 'node:assert/strict'
import { test } from 'node:test'
import { splitTerm } from './search.ts'
import { credentialsOf, never, startClient } from './testing/client.ts'
import { startRegistry } from './testing/registry.ts'

test('a term says where to search', () => {
  const hub = (term: string) => ({ registry: 'docker.io', term })
  assert.deepEqual(splitTerm('busybox'), hub('busybox'))
  assert.deepEqual(splitTerm('library/busybox'), hub('busybox'))
  assert.deepEqual(splitTerm('team/app'), hub('team/app'))
  assert.deepEqual(splitTerm('docker.io/library/busybox'), hub('busybox'))
  assert.deepEqual(splitTerm('host:5000/team/app'), { registry: 'host:5000', term: 'team/app' })
  assert.deepEqual(splitTerm('localhost/app'), { registry: 'localhost', term: 'app' })
  assert.throws(() => splitTerm('https://host/app'), /repository name \(.*\) should not have a scheme/)
})

const search = async (address: string, credentials = credentialsOf({})) => {
  await using client = startClient()
  return await client.search(address, { term: 'box', limit: 25, credentials, signal: never })
}

test('what a registry finds is read as far as it makes sense', async () => {
  await using registry = await startRegistry()
  registry.searchable.push(
    { name: 'busybox', description: 'tiny', star_count: 3, is_official: true, is_automated: true },
    { name: 'team/box', star_count: 'many' },
    { name: 7 },
    { name: 'other' },
  )
  assert.deepEqual(await search(registry.address), [
    { name: 'busybox', description: 'tiny', star_count: 3, is_official: true, is_automated: false },
    { name: 'team/box', description: '', star_count: 0, is_official: false, is_automated: false },
  ])
  assert.equal(registry.seen.at(-1)?.url, '/v1/search?q=box&n=25')
})

test('a registry that cannot be searched, or answers with nonsense, is told so', async () => {
  await using registry = await startRegistry()
  registry.fault(() => ({ status: 404, text: 'page not found' }))
  await assert.rejects(search(registry.address), { status: 500, message: 'unexpected status code 404' })
  registry.fault(() => ({ status: 200, text: '<html>' }))
  await assert.rejects(search(registry.address), /error decoding registry search results/)
})

test('who has logged in searches with that name', async () => {
  await using registry = await startRegistry({ basic: { username: 'anna', password: 'x' } })
  registry.searchable.push({ name: 'box' })
  await assert.rejects(search(registry.address), /no basic auth credentials/)
  const found = await search(registry.address, credentialsOf({ username: 'anna', password: 'x' }))
  assert.equal(found[0]?.name, 'box')
})
