import assert from 'node:assert/strict'
import path from 'node:path'
import { describe, test } from 'node:test'
import { hostsOf } from './certificates.ts'
import { checkInsecure, checkMirror, isInsecure } from './hosts.ts'
import { settingsOf, startFolder } from './testing/client.ts'
import type { RegistrySettings } from './types.ts'

const names: Record<string, string[]> = { 'inside.example': ['10.9.8.7'], localhost: ['127.0.0.1'] }
const lookup = async (name: string): Promise<string[]> =>
  names[name] ?? (/^[\d.]+$|:/.test(name) ? [name] : [])

const bases = async (registry: string, given: Partial<RegistrySettings> = {}): Promise<string[]> =>
  (await hostsOf(registry, settingsOf(given), lookup)).map(host => host.base)

describe('hosts of a registry', () => {
  test('docker.io is asked at its own host, after its mirrors, which are never pushed to', async () => {
    const given = { mirrors: ['https://m.example/prefix/', 'http://n.example', 'https://m.example/prefix'] }
    const hosts = await hostsOf('docker.io', settingsOf(given), lookup)
    assert.deepEqual(
      hosts.map(host => [host.base, host.namespace, host.capabilities.has('push')]),
      [
        ['https://m.example/prefix', 'docker.io', false],
        ['http://n.example', 'docker.io', false],
        ['https://registry-1.docker.io', '', true],
      ],
    )
    assert.deepEqual(await bases('index.docker.io'), ['https://registry-1.docker.io'])
    assert.deepEqual(await bases('other.example', given), ['https://other.example'])
  })

  test('an insecure registry is asked over TLS with any certificate, then without', async () => {
    const insecure = ['named.example:5000', '10.0.0.0/8']
    for (const registry of [
      'named.example:5000',
      'inside.example',
      '10.1.1.1:80',
      'localhost:5000',
      '[::1]:5000',
    ]) {
      const hosts = await hostsOf(registry, settingsOf({ insecure }), lookup)
      assert.deepEqual(
        hosts.map(host => [host.base, host.tls.skipVerify]),
        [
          [`https://${registry}`, true],
          [`http://${registry}`, true],
        ],
      )
    }
    for (const registry of ['named.example', 'outside.example', '11.1.1.1'])
      assert.deepEqual(await bases(registry, { insecure }), [`https://${registry}`])
    assert.equal(await isInsecure('registry-1.docker.io', ['0.0.0.0/0'], async () => ['1.2.3.4']), false)
  })

  test('hosts.toml names hosts with their certificates, headers and paths, and the registry itself comes last', async () => {
    using folder = startFolder({
      'r.example_5000_': {
        'hosts.toml': `
[host."https://mirror.example/v2"]
capabilities = ["pull"]
ca = "own.crt"
client = [["c.cert", "c.key"]]
[host."http://odd.example/api/registry"]
override_path = true
skip_verify = true
header = { x-team = "one" }
`,
        'own.crt': 'AUTHORITY',
        'c.cert': 'CERTIFICATE',
        'c.key': 'KEY',
      },
    })
    const hosts = await hostsOf('r.example:5000', settingsOf({ certificateFolders: [folder.path] }), lookup)
    assert.deepEqual(
      hosts.map(({ base, overridePath, namespace, capabilities }) => [
        base,
        overridePath,
        namespace,
        [...capabilities].join(),
      ]),
      [
        ['https://mirror.example', false, 'r.example:5000', 'pull'],
        ['http://odd.example/api/registry', true, 'r.example:5000', 'pull,resolve,push'],
        ['https://r.example:5000', false, '', 'pull,resolve,push'],
      ],
    )
    assert.deepEqual(hosts[0]?.tls, {
      authorities: ['AUTHORITY'],
      client: { certificate: 'CERTIFICATE', key: 'KEY' },
      skipVerify: false,
    })
    assert.equal(hosts[1]?.tls.skipVerify, true)
    assert.deepEqual(hosts[1]?.headers, { 'x-team': ['one'] })
  })

  test('_default holds for all registries without a folder', async () => {
    using folder = startFolder({
      _default: { 'hosts.toml': '[host."https://all.example"]' },
      'r.example': {},
    })
    const given = { certificateFolders: [folder.path] }
    assert.deepEqual(await bases('any.example', given), ['https://all.example', 'https://any.example'])
    assert.deepEqual(await bases('r.example', given), ['https://r.example'])
  })

  test('certificates of certs.d are read from the first folder that has the registry', async () => {
    using first = startFolder({
      'r.example:5000': { 'a.crt': 'A', 'b.crt': 'B', 'c.cert': 'C', 'c.key': 'K' },
    })
    using second = startFolder({ 'r.example:5000': { 'z.crt': 'Z' }, 'mirror.example': { 'm.crt': 'M' } })
    const settings = settingsOf({
      certificateFolders: [first.path, second.path],
      mirrors: ['https://mirror.example'],
    })
    const [host] = await hostsOf('r.example:5000', settings, lookup)
    assert.deepEqual(host?.tls, {
      authorities: ['A', 'B'],
      client: { certificate: 'C', key: 'K' },
      skipVerify: false,
    })
    const [mirror, hub] = await hostsOf('docker.io', settings, lookup)
    assert.deepEqual([mirror?.tls.authorities, hub?.tls.authorities], [['M'], []])
    // Where a certificate would be looked for is known, whether there is one or not.
    assert.equal(host?.certificates, path.join(first.path, 'r.example:5000'))
    assert.equal(mirror?.certificates, path.join(second.path, 'mirror.example'))
    assert.equal(hub?.certificates, path.join(first.path, 'docker.io'))
  })

  test('a certificate without its key is refused in Docker’s words, and a key without its certificate', async () => {
    const cases: [files: Record<string, string>, message: string][] = [
      [
        { 'c.cert': '' },
        'missing key c.key for client certificate c.cert. CA certificates must use the extension .crt',
      ],
      [{ 'c.key': '' }, 'missing client certificate c.cert for key c.key'],
    ]
    for (const [files, message] of cases) {
      using folder = startFolder({ 'r.example': files })
      const settings = settingsOf({ certificateFolders: [folder.path] })
      await assert.rejects(hostsOf('r.example', settings, lookup), { code: 'bad-request', message })
    }
    using missing = startFolder({ 'r.example': { 'hosts.toml': 'ca = "not-there.crt"' } })
    await assert.rejects(hostsOf('r.example', settingsOf({ certificateFolders: [missing.path] }), lookup), {
      code: 'bad-request',
      message: /cannot read .*not-there\.crt/,
    })
  })

  test('wrong mirrors and insecure registries are refused in Docker’s words, without a password in them', () => {
    const mirrors: [text: string, message: RegExp][] = [
      [
        'm.example',
        /^invalid mirror: no scheme specified for "m\.example": must use either 'https:\/\/' or 'http:\/\/'$/,
      ],
      ['ftp://m.example', /^invalid mirror: unsupported scheme "ftp" in "ftp:\/\/m\.example"/],
      ['https://m.example?a=b', /^invalid mirror: query or fragment at end of the URI/],
      [
        'https://u:secret@m.example',
        /^invalid mirror: username\/password not allowed in URI "https:\/\/xxxxx@m\.example"$/,
      ],
    ]
    for (const [text, message] of mirrors)
      assert.throws(() => checkMirror(text), { code: 'bad-request', message })
    const insecure: [text: string, message: RegExp][] = [
      ['-a.example', /^invalid index name \(-a\.example\)\. Cannot begin or end with a hyphen$/],
      ['ftp://a.example', /^insecure registry ftp:\/\/a\.example should not contain ':\/\/'$/],
      ['a b', /^insecure registry a b is not valid: invalid host "a b"$/],
      ['a.example:70000', /^insecure registry a\.example:70000 is not valid: invalid port "70000"$/],
    ]
    for (const [text, message] of insecure)
      assert.throws(() => checkInsecure(text), { code: 'bad-request', message })
    assert.equal(checkInsecure('http://a.example:5000'), 'a.example:5000')
    assert.equal(checkInsecure('fd00::/8'), 'fd00::/8')
  })
})
