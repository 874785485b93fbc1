import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { hasCode } from '../core/errors.ts'
import { makeCertificates } from '../registry-client/testing/certificates.ts'
import { findPlugin, pluginNames } from './discovery.ts'
import { Plugins } from './plugins.ts'

const folder = mkdtempSync('/tmp/berth-plugins-')
const folders = {
  sockets: path.join(folder, 'run'),
  specs: [path.join(folder, 'etc'), path.join(folder, 'lib')],
}
const servers: Server[] = []
const plugins = new Plugins(folders)
const certificates = makeCertificates()
let activations = 0

const answer: RequestListener = (req, res) => {
  const bodies: Record<string, [number, string]> = {
    '/Plugin.Activate': [200, '{"Implements":["VolumeDriver"]}'],
    '/Some.Good': [200, '{"Answer":42}'],
    '/Some.Err': [200, '{"Err":"it does not like it"}'],
    '/Some.Status': [500, '{"Err":"broken"}'],
    '/Some.Text': [404, 'no such method\n'],
    '/Some.Junk': [200, '<html>'],
    '/Some.Large': [200, ' '.repeat(17 * 1024 * 1024)],
  }
  if (req.url === '/Plugin.Activate') activations++
  if (req.url === '/Some.Hang') return
  const [status, text] = bodies[req.url ?? ''] ?? [404, '']
  res.writeHead(status).end(text)
}

const listen = async (server: Server, at: string | number): Promise<void> => {
  servers.push(server)
  const { promise, resolve } = Promise.withResolvers<void>()
  if (typeof at === 'string') server.listen(at, resolve)
  else server.listen(at, '127.0.0.1', resolve)
  await promise
}
const portOf = (server: Server): number => (server.address() as AddressInfo).port

const write = (name: string, text: string): void => {
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
  writeFileSync(path.join(folder, name), text)
}

before(async () => {
  mkdirSync(path.join(folder, 'run/nested'), { recursive: true })
  await listen(createServer(answer), path.join(folder, 'run/plain.sock'))
  await listen(createServer(answer), path.join(folder, 'run/nested/nested.sock'))
  const tcp = createServer(answer)
  await listen(tcp, 0)
  write('etc/tcp.spec', `tcp://127.0.0.1:${portOf(tcp)}\n`)
  const { cert, key } = certificates.server
  const secure = createTlsServer(
    { cert, key, ca: certificates.authority, requestCert: true, rejectUnauthorized: true },
    answer,
  )
  await listen(secure, 0)
  const Addr = `https://127.0.0.1:${portOf(secure)}`
  write('ca.pem', certificates.authority)
  write('cert.pem', certificates.client.cert)
  write('key.pem', certificates.client.key)
  const [CAFile, CertFile, KeyFile] = ['ca', 'cert', 'key'].map(name => path.join(folder, `${name}.pem`))
  write(
    'lib/secure/secure.json',
    JSON.stringify({ Name: 'other', Addr, TLSConfig: { CAFile, CertFile, KeyFile } }),
  )
  write('lib/unshown.json', JSON.stringify({ Addr, TLSConfig: { InsecureSkipVerify: true } }))
  write('lib/plain.spec', 'unix:///elsewhere.sock')
  write('etc/wrong.spec', 'nonsense')
  write('etc/wrong-json.json', '{')
  write('etc/ignored.txt', 'tcp://127.0.0.1:1')
})
after(async () => {
  plugins[Symbol.dispose]()
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true })
})

const deadline = 5000

test('plugins are found by sockets, then by specs; a name leads out of no folder', () => {
  assert.deepEqual(pluginNames(folders), ['nested', 'plain', 'secure', 'tcp', 'unshown'])
  assert.deepEqual(findPlugin(folders, 'plain'), { url: `unix://${folder}/run/plain.sock` })
  for (const name of ['..', '../run/plain', 'absent', '', 'a/b'])
    assert.equal(findPlugin(folders, name), undefined)
  assert.throws(() => findPlugin(folders, 'wrong'), /wrong\.spec: "nonsense" is no address of a plugin/)
  assert.throws(() => findPlugin(folders, 'wrong-json'), /wrong-json\.json cannot be read as JSON/)
})

test('a call goes over a unix socket, TCP and TLS, after one activation', async () => {
  for (const name of ['plain', 'nested', 'tcp', 'secure']) {
    const begun = activations
    for (let round = 0; round < 3; round++) {
      const plugin = await plugins.get(name, 'VolumeDriver')
      assert.deepEqual(await plugin.call('Some.Good', {}, { deadline }), { Answer: 42 })
    }
    assert.equal(activations, begun + 1, name)
  }
  assert.deepEqual(plugins.activeNames('VolumeDriver'), ['nested', 'plain', 'secure', 'tcp'])
  await assert.rejects(plugins.get('unshown', 'VolumeDriver'), { code: 'plugin-unusable' })
})

test('callers in a hurry, who do not wait for each other, leave one client', async () => {
  const place = mkdtempSync('/tmp/berth-plugins-')
  const server = createServer({ keepAliveTimeout: 0 }, answer)
  await listen(server, path.join(place, 'busy.sock'))
  const hurried = new Plugins({ sockets: place, specs: [] })
  const use = async (): Promise<unknown> =>
    (await hurried.get('busy', 'VolumeDriver')).call('Some.Good', {}, { deadline })
  assert.deepEqual(await Promise.all([use(), use(), use()]), Array(3).fill({ Answer: 42 }))
  hurried[Symbol.dispose]()
  const open = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
    })
  while ((await open()) > 0) await setTimeout(10)
  rmSync(place, { recursive: true })
})

test('answers that are errors are told in their own words', async () => {
  const plugin = await plugins.get('plain', 'VolumeDriver')
  const fails = (method: string, message: RegExp): Promise<void> =>
    assert.rejects(plugin.call(method, {}, { deadline }), error => {
      assert.ok(hasCode(error, 'plugin-error'))
      assert.match((error as Error).message, message)
      return true
    })
  await fails('Some.Err', /^it does not like it$/)
  await fails('Some.Status', /^Some\.Status: broken$/)
  await fails('Some.Text', /^Some\.Text: no such method$/)
  await fails('Some.Junk', /^Some\.Junk: the plugin's answer is no JSON$/)
  await fails('Some.Large', /^Some\.Large: the plugin's answer cannot be read: it is larger/)
  await assert.rejects(
    plugin.call('Some.Hang', {}, { deadline: 30 }),
    /^BerthError: Some\.Hang: no answer within 0\.03 s$/,
  )
  const left = AbortSignal.abort(new Error('left'))
  await assert.rejects(plugin.call('Some.Hang', {}, { deadline, signal: left }), /left/)
})

test('what is not there, or is something else, is refused in the words of Docker', async () => {
  await assert.rejects(plugins.get('absent', 'VolumeDriver'), {
    code: 'plugin-not-found',
    status: 404,
    message: 'plugin "absent" not found',
  })
  await assert.rejects(plugins.get('plain', 'authz'), {
    code: 'plugin-unusable',
    message:
      'legacy plugin: Plugin does not implement the requested driver: plugin="plain", requested implementation="authz"',
  })
  write('etc/dead.spec', `unix://${folder}/nobody.sock`)
  await assert.rejects(
    plugins.get('dead', 'authz'),
    /legacy plugin: Post "unix:.*\/Plugin\.Activate": connect ENOENT/,
  )
  const told: string[] = []
  const found = await plugins.all('VolumeDriver', name => told.push(name))
  assert.deepEqual(
    [found.map(({ name }) => name), told],
    [
      ['nested', 'plain', 'secure', 'tcp'],
      ['dead', 'unshown'],
    ],
  )
})

test('a plugin that moves is activated again where it is now', async () => {
  await plugins.get('tcp', 'VolumeDriver')
  const begun = activations
  write('etc/tcp.spec', `unix://${folder}/run/plain.sock`)
  const plugin = await plugins.get('tcp', 'VolumeDriver')
  assert.deepEqual(await plugin.call('Some.Good', {}, { deadline }), { Answer: 42 })
  assert.equal(activations, begun + 1)
})

test('a plugin whose socket is away for a moment is not forgotten', async () => {
  await plugins.get('nested', 'VolumeDriver')
  const begun = activations
  renameSync(path.join(folder, 'run/nested/nested.sock'), path.join(folder, 'away'))
  await plugins.get('nested', 'VolumeDriver')
  renameSync(path.join(folder, 'away'), path.join(folder, 'run/nested/nested.sock'))
  const plugin = await plugins.get('nested', 'VolumeDriver')
  assert.deepEqual(await plugin.call('Some.Good', {}, { deadline }), { Answer: 42 })
  assert.equal(activations, begun)
})
