import assert from 'node:assert/strict'
import { it } from 'node:test'
import { chooseEncoding } from './contentEncoding.ts'

it('an answer is compressed as the client asked', () => {
  const cases: [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ['identity', undefined],
    ['gzip', 'gzip'],
    ['gzip;q=0', undefined],
    ['deflate, gzip', 'gzip'],
    ['gzip;q=0.2, deflate;q=0.8', 'deflate'],
    ['GZIP ; q=1', 'gzip'],
  ]
  for (const [header, wanted] of cases) assert.equal(chooseEncoding(header), wanted, String(header))
})
