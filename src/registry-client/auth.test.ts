import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mediaTypes } from '../oci/image.ts'
import { credentialsOf, never, startClient, startFolder } from './testing/client.ts'
import { startRegistry, type TestRegistryOptions } from './testing/registry.ts'
import { lifeOf } from './tokens.ts'
import type { Credentials } from './types.ts'

const secret = 'hunter2-very-secret'
const users = { anna: secret }
const anna = credentialsOf({ username: 'anna', password: secret })

const start = async (options: TestRegistryOptions, repository = 'team/app') => {
  const registry = await startRegistry(options)
  registry.addManifest(repository, 'v1', { schemaVersion: 2, layers: [] })
  const client = startClient()
  return {
    registry,
    client,
    pull: (credentials?: Credentials) =>
      client.repository(registry.address, repository, credentials).manifest('v1', never),
    async [Symbol.asyncDispose]() {
      await client.close()
      await registry[Symbol.asyncDispose]()
    },
  }
}

describe('credentials', () => {
  test('Basic ones open a registry, and wrong or missing ones are told in Docker’s words', async () => {
    await using host = await start({ basic: { username: 'anna', password: secret } })
    assert.equal((await host.pull(anna)).descriptor.mediaType, mediaTypes.ociManifest)
    await assert.rejects(host.pull(), {
      code: 'unauthorized',
      status: 500,
      message: /no basic auth credentials/,
    })
    await assert.rejects(host.pull({ ...anna, password: 'no' }), {
      code: 'unauthorized',
      status: 401,
      message: 'unauthorized: authentication required',
    })
  })

  test('a token is fetched for the repository, without credentials where it is public', async () => {
    await using host = await start({ tokens: { users, public: ['team/app'] } })
    await host.pull()
    await host.pull(anna)
    assert.deepEqual(host.registry.tokens.given, [['repository:team/app:pull'], ['repository:team/app:pull']])
    const [first, second] = host.registry.seen.filter(seen => seen.url.startsWith('/token'))
    assert.equal(first?.headers.authorization, undefined)
    assert.match(second?.url ?? '', /service=test\+registry.*account=anna/)
    assert.doesNotMatch(host.registry.seen.map(seen => seen.url).join(), new RegExp(secret))
  })

  test('a private repository denies who has no account there, as Docker says it', async () => {
    await using host = await start({ tokens: { users } })
    await assert.rejects(host.pull(), {
      code: 'denied',
      status: 404,
      message: `pull access denied for ${host.registry.address}/team/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
    })
  })

  test('wrong credentials are refused also where a public repository would do without, as with Docker', async () => {
    await using host = await start({ tokens: { users, public: ['team/app'] } })
    await assert.rejects(host.pull({ ...anna, password: 'wrong' }), {
      code: 'unauthorized',
      status: 401,
      message: 'unauthorized: incorrect username or password',
    })
  })

  test('no secret is in any error', async () => {
    const wanted: [options: TestRegistryOptions, credentials: Credentials][] = [
      [{ tokens: {} }, anna],
      [{ basic: { username: 'anna', password: 'other' } }, anna],
      [{ tokens: {} }, credentialsOf({ identityToken: secret })],
      [{ tokens: {} }, credentialsOf({ registryToken: secret })],
    ]
    for (const [options, credentials] of wanted) {
      await using host = await start(options)
      const error = await host.pull(credentials).catch((thrown: Error) => thrown)
      assert.ok(error instanceof Error)
      const told = `${error.stack} ${JSON.stringify(error)} ${JSON.stringify(error.cause)}`
      assert.ok(
        !told.includes(secret) && !told.includes(Buffer.from(`anna:${secret}`).toString('base64')),
        told,
      )
    }
  })

  test('one token serves all requests of a scope, also those at the same time', async () => {
    await using host = await start({ tokens: { users } })
    const repository = host.client.repository(host.registry.address, 'team/app', anna)
    await repository.manifest('v1', never)
    await Promise.all([1, 2, 3, 4].map(() => repository.manifest('v1', never)))
    await Promise.all([1, 2, 3].map(() => host.pull(anna)))
    assert.equal(host.registry.tokens.given.length, 1)
    await using other = await start({ tokens: { users } })
    await Promise.all([1, 2, 3].map(() => other.pull(anna)))
    assert.equal(other.registry.tokens.given.length, 1)
  })

  test('who is told to stop leaves the others their token', async () => {
    await using host = await start({ tokens: { users } })
    const stop = new AbortController()
    const repository = (signal: AbortSignal) =>
      host.client.repository(host.registry.address, 'team/app', anna).manifest('v1', signal)
    host.registry.fault(seen => {
      if (seen.url.startsWith('/token')) stop.abort(new Error('stopped'))
      return undefined
    })
    const [stopped, other] = await Promise.allSettled([repository(stop.signal), repository(never)])
    assert.equal(stopped.status === 'rejected' && stopped.reason.message, 'stopped')
    assert.equal(other.status, 'fulfilled')
  })

  test('a token that is refused is fetched anew, once', async () => {
    await using host = await start({ tokens: { users } })
    const repository = host.client.repository(host.registry.address, 'team/app', anna)
    await repository.manifest('v1', never)
    host.registry.tokens.revokeAll()
    await repository.manifest('v1', never)
    assert.equal(host.registry.tokens.given.length, 2)
    host.registry.fault(seen =>
      seen.url.includes('manifests')
        ? { status: 401, headers: { 'www-authenticate': 'Bearer realm="/token"' } }
        : undefined,
    )
    const before = host.registry.count('GET', /manifests/)
    await assert.rejects(repository.manifest('v1', never), { code: 'unauthorized' })
    assert.equal(host.registry.count('GET', /manifests/) - before, 2)
  })

  test('a token lives a minute at least, less its age by the server’s clock and a margin', () => {
    const at = (seconds: number): string => new Date(1_700_000_000_000 + seconds * 1000).toUTCString()
    assert.equal(lifeOf({}, undefined), 55_000)
    assert.equal(lifeOf({ expires_in: 5 }, undefined), 55_000)
    assert.equal(lifeOf({ expires_in: 300 }, undefined), 295_000)
    assert.equal(lifeOf({ expires_in: 300, issued_at: at(0) }, at(100)), 195_000)
    // The clocks of token server and proxy differ: no age can be told.
    assert.equal(lifeOf({ expires_in: 300, issued_at: at(900) }, at(100)), 295_000)
    assert.equal(lifeOf({ expires_in: 300, issued_at: at(0) }, at(999)), 295_000)
  })

  test('an identity token is used by POST, and as a password where the server knows no POST', async () => {
    for (const getOnly of [false, true]) {
      await using host = await start({ tokens: { identityTokens: ['identity'], getOnly } })
      await host.pull(credentialsOf({ username: getOnly ? 'anna' : '', identityToken: 'identity' }))
      assert.equal(host.registry.count('POST', /^\/token$/), 1)
      assert.equal(host.registry.count('GET', /^\/token/), getOnly ? 1 : 0)
      await assert.rejects(host.pull(credentialsOf({ identityToken: 'wrong' })), {
        status: getOnly ? 500 : 401,
      })
    }
  })

  test('a registry token is sent as it is', async () => {
    await using host = await start({ tokens: { users } })
    await assert.rejects(host.pull(credentialsOf({ registryToken: 'given' })), { code: 'unauthorized' })
    assert.equal(host.registry.tokens.given.length, 0)
    assert.equal(host.registry.seen.at(-1)?.headers.authorization, 'Bearer given')
  })

  test('neither a mirror nor whoever a registry redirects to is told any', async () => {
    await using elsewhere = await startRegistry()
    await using mirror = await startRegistry({ basic: { username: 'anna', password: secret } })
    await using host = await start({ tokens: { users } })
    const digest = elsewhere.addManifest('team/app', 'v1', { schemaVersion: 2, layers: [] })
    host.registry.fault(seen =>
      seen.url.includes('manifests') && seen.headers.authorization
        ? { status: 307, headers: { location: `${elsewhere.base}/v2/team/app/manifests/v1?signature=abc` } }
        : undefined,
    )
    using folder = startFolder({
      'r.example': {
        'hosts.toml': `server = "http://${host.registry.address}"\n[host."${mirror.base}"]`,
      },
      [host.registry.address]: {
        'hosts.toml': `[host."${mirror.base}"]\n[host."${host.registry.base}"]\nheader = { x-team = "a" }`,
      },
    })
    await using client = startClient({ certificateFolders: [folder.path] })
    const got = await client.repository(host.registry.address, 'team/app', anna).manifest('v1', never)
    assert.equal(got.descriptor.digest, digest)
    assert.ok(host.registry.seen.some(seen => seen.headers['x-team'] === 'a' && seen.headers.authorization))
    for (const seen of [...elsewhere.seen, ...mirror.seen])
      assert.deepEqual([seen.headers.authorization, seen.headers['x-team']], [undefined, undefined])
    assert.ok(elsewhere.seen.length > 0 && mirror.seen.length > 0)
  })
})

describe('login', () => {
  test('gives the identity token of a token server, and none of a registry with Basic', async () => {
    await using host = await start({ tokens: { users } })
    assert.deepEqual(await host.client.login(host.registry.address, anna, never), {
      identityToken: 'identity of anna',
    })
    await using plain = await start({ basic: { username: 'anna', password: secret } })
    assert.deepEqual(await plain.client.login(plain.registry.address, anna, never), { identityToken: '' })
    await using open = await start({})
    assert.deepEqual(await open.client.login(open.registry.address, anna, never), { identityToken: '' })
  })

  test('with wrong credentials is refused in Docker’s words', async () => {
    const wrong = { ...anna, password: 'wrong' }
    await using host = await start({ tokens: { users } })
    await assert.rejects(host.client.login(host.registry.address, wrong, never), {
      status: 401,
      message: 'unauthorized: incorrect username or password',
    })
    await using plain = await start({ basic: { username: 'anna', password: secret } })
    await assert.rejects(plain.client.login(plain.registry.address, wrong, never), {
      status: 401,
      message: `login attempt to http://${plain.registry.address}/v2/ failed with status: 401 Unauthorized`,
    })
  })
})
