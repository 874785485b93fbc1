import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parseChallenges } from './challenge.ts'

const tokens = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/)

describe('challenges', () => {
  test('the challenge of a token server is read, with commas and quotes inside of quotes', () => {
    assert.deepEqual(
      parseChallenges('Bearer realm="https://a/token",service="a \\"b\\"",scope="repository:x:pull,push"'),
      [
        {
          scheme: 'bearer',
          parameters: { realm: 'https://a/token', service: 'a "b"', scope: 'repository:x:pull,push' },
        },
      ],
    )
  })

  test('several challenges are told apart in one header and in several', () => {
    assert.deepEqual(
      parseChallenges([
        'Negotiate, Basic realm="x" , Bearer realm=https://b/t, service=b',
        'Digest a = "1"',
      ]).map(challenge => [challenge.scheme, challenge.parameters]),
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
        ['bearer', { realm: 'https://b/t', service: 'b' }],
        ['digest', { a: '1' }],
      ],
    )
    assert.deepEqual(parseChallenges(undefined), [])
    assert.deepEqual(parseChallenges('"'), [])
  })

  test('whatever is written in the grammar is read back', () => {
    const challenge = fc.record(
      {
        scheme: tokens,
        parameters: fc.dictionary(tokens, fc.string({ unit: 'binary-ascii', maxLength: 12 }), {
          noNullPrototype: true,
        }),
      },
      { noNullPrototype: true },
    )
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 4 }), challenges => {
        const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`
        const text = challenges
          .map(({ scheme, parameters }) =>
            [
              scheme,
              Object.entries(parameters)
                .map(([name, value]) => `${name}=${quote(value)}`)
                .join(', '),
            ].join(' '),
          )
          .join(', ')
        assert.deepEqual(parseChallenges(text), challenges)
      }),
    )
  })

  test('any text is read in bounded time without a throw', () => {
    const parts = fc.constantFrom('Bearer', ' ', '=', '"', '\\', ',', 'a', 'realm', '\t', '=""')
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 200 }), texts => {
        for (const { scheme } of parseChallenges(texts.join(''))) assert.notEqual(scheme, '')
      }),
    )
  })
})
