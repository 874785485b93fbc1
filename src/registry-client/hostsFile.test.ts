import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parse, stringify } from 'smol-toml'
import { hasCode } from '../core/errors.ts'
import { parseHostsFile } from './hostsFile.ts'

const read = (text: string) => parseHostsFile(text, '/etc/certs.d/x', parse)

describe('hosts.toml', () => {
  test('hosts come in the order of the file with what is told of each, the server last', () => {
    const entries = read(`
server = "https://upstream.example"
skip_verify = true
[host."https://z.example/prefix"]
  capabilities = ["pull", "Resolve", "referrers"]
  ca = ["a.crt", "/abs/b.crt"]
  client = [["c.cert", "c.key"]]
  override_path = true
  [host."https://z.example/prefix".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."a.example:5000"]
  client = "both.pem"
`)
    assert.deepEqual(
      entries.map(entry => ({ ...entry, capabilities: [...entry.capabilities] })),
      [
        {
          server: 'https://z.example/prefix',
          capabilities: ['pull', 'resolve'],
          overridePath: true,
          skipVerify: false,
          headers: { 'x-one': ['1'], 'x-two': ['2', '3'] },
          authorities: ['/etc/certs.d/x/a.crt', '/abs/b.crt'],
          client: { certificate: '/etc/certs.d/x/c.cert', key: '/etc/certs.d/x/c.key' },
        },
        {
          server: 'https://a.example:5000',
          capabilities: ['pull', 'resolve', 'push'],
          overridePath: false,
          skipVerify: false,
          headers: {},
          authorities: [],
          client: { certificate: '/etc/certs.d/x/both.pem', key: '/etc/certs.d/x/both.pem' },
        },
        {
          server: 'https://upstream.example',
          capabilities: ['pull', 'resolve', 'push'],
          overridePath: false,
          skipVerify: true,
          headers: {},
          authorities: [],
          client: undefined,
        },
      ],
    )
  })

  test('a file without a server stands for the registry itself', () => {
    assert.deepEqual(
      read('').map(entry => entry.server),
      [''],
    )
  })

  test('what is wrong is refused with the name of the file and what to do', () => {
    const cases: [text: string, message: RegExp][] = [
      ['server = ', /^invalid \/etc\/certs\.d\/x\/hosts\.toml: /],
      [
        '[host."https://a"]\ncapabilities = ["fly"]',
        /unknown capability fly: pull, resolve and push are known/,
      ],
      ['ca = 1', /ca must be a text or a list of texts/],
      ['client = [["a"]]', /client must be a file, or a pair of files/],
      ['client = ["a", "b"]', /several certificates/],
      ['host = 1', /host must be tables/],
      ['server = 1', /server must be a text/],
      ['skip_verify = "yes"', /skip_verify must be true or false/],
      ['server = "https://u:p@a"', /no address of a host/],
      ['header = { x-a = "a\\nb: c" }', /header "x-a" is none that can be sent/],
      ['header = { "x a" = "b" }', /header "x a" is none that can be sent/],
      ['header = 1', /header must be a table/],
      ['server = "https://"', /no address of a host/],
    ]
    for (const [text, message] of cases)
      assert.throws(() => read(text), { code: 'bad-request', message }, text)
  })

  test('any table of TOML is read or refused as a bad request', () => {
    const value = fc.oneof(fc.string(), fc.boolean(), fc.nat(), fc.array(fc.string(), { maxLength: 3 }))
    const name = fc.constantFrom(
      'server',
      'capabilities',
      'ca',
      'client',
      'skip_verify',
      'override_path',
      'header',
      'host',
    )
    const table = fc.dictionary(fc.oneof(name, fc.string()), value)
    fc.assert(
      fc.property(table, fc.dictionary(fc.string(), table), (root, hosts) => {
        try {
          assert.equal(read(stringify({ ...root, host: hosts })).length, Object.keys(hosts).length + 1)
        } catch (error) {
          assert.ok(hasCode(error, 'bad-request'), String(error))
        }
      }),
    )
  })
})
