import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { proxyFor } from './proxies.ts'

const through = (url: string, no: string): boolean =>
  proxyFor(new URL(url), { http: 'plain.example:3128', https: 'http://secure.example:3129', no }) !==
  undefined

describe('proxies', () => {
  test('the scheme of the request chooses the proxy, and one without a scheme speaks HTTP', () => {
    const settings = { http: 'plain.example:3128', https: 'https://u:p@secure.example', no: '' }
    assert.equal(proxyFor(new URL('http://a/'), settings)?.href, 'http://plain.example:3128/')
    assert.equal(proxyFor(new URL('https://a/'), settings)?.host, 'secure.example')
    assert.equal(proxyFor(new URL('https://a/'), { ...settings, https: '' }), undefined)
  })

  test('one that is no address is refused, without its password', () => {
    assert.throws(() => proxyFor(new URL('http://a/'), { http: 'http://u:secret@[', https: '', no: '' }), {
      code: 'bad-request',
      message: /^(?!.*secret).*proxy of the daemon is no address/,
    })
  })

  test('loopback goes straight', () => {
    for (const host of ['localhost', '127.0.0.1', '127.8.9.1', '[::1]'])
      assert.equal(through(`http://${host}:5000/`, ''), false, host)
  })

  test('names, domains, ports, addresses and networks are exempt as Go has it', () => {
    const cases: [url: string, no: string, through: boolean][] = [
      ['https://a.example', 'example', false],
      ['https://example', 'example', false],
      ['https://example', '.example', true],
      ['https://a.example', '.example', false],
      ['https://a.example', '*.example', false],
      ['https://example', '*.example', true],
      ['https://badexample', 'example', true],
      ['https://A.example', 'other, A.Example', false],
      ['https://a.example:8443', 'a.example:8443', false],
      ['https://a.example', 'a.example:8443', true],
      ['https://a.example', 'a.example:443', false],
      ['https://10.1.2.3', '10.0.0.0/8', false],
      ['https://11.1.2.3', '10.0.0.0/8', true],
      ['https://10.1.2.3', '10.1.2.3', false],
      ['https://10.1.2.3:5000', '10.1.2.3:5000', false],
      ['https://[fd00::1]:5000', '[fd00::1]:5000', false],
      ['https://[fd00::1]', 'fd00::/8', false],
      ['https://anything', '*', false],
      ['https://anything', ',,', true],
      ['https://a.example', '10.0.0.0/99', true],
    ]
    for (const [url, no, expected] of cases) assert.equal(through(url, no), expected, `${url} without ${no}`)
  })

  test('any list of exemptions is read without a throw', () => {
    const part = fc.constantFrom('.', '*', ':', '[', ']', '/', ',', ' ', 'a', '10.0.0.0', '8', 'fd00::1')
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), parts => {
        assert.equal(typeof through('https://10.2.3.4:1', parts.join('')), 'boolean')
      }),
    )
  })
})
