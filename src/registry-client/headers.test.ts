import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { mediaTypeOf, nextLink, parseContentRange, parseRetryAfter, parseUploadRange } from './headers.ts'

describe('headers of registries', () => {
  test('Content-Range is read, and refused where it contradicts itself', () => {
    assert.deepEqual(parseContentRange('bytes 5-9/10'), { first: 5, last: 9, total: 10 })
    assert.deepEqual(parseContentRange('bytes 5-9/*'), { first: 5, last: 9, total: undefined })
    for (const bad of [
      undefined,
      '',
      'bytes */10',
      'bytes 9-5/10',
      'bytes 0-10/10',
      'bytes 0-1',
      'lines 0-1/2',
    ])
      assert.equal(parseContentRange(bad), undefined, String(bad))
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (first, length, rest) => {
        const last = first + length
        const total = last + 1 + rest
        assert.deepEqual(parseContentRange(`bytes ${first}-${last}/${total}`), { first, last, total })
      }),
    )
  })

  test('the range of an upload tells how many bytes are there', () => {
    assert.equal(parseUploadRange('0-1023'), 1024)
    assert.equal(parseUploadRange('bytes=0-99'), 100)
    assert.equal(parseUploadRange('0-0'), 0)
    for (const bad of [undefined, '', '5-9', '0-', '-1', '0--1'])
      assert.equal(parseUploadRange(bad), undefined, String(bad))
    fc.assert(
      fc.property(fc.integer({ min: 2 }), size => assert.equal(parseUploadRange(`0-${size - 1}`), size)),
    )
  })

  test('Retry-After is taken in seconds and as a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z')
    assert.equal(parseRetryAfter('7', now), 7000)
    assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:00:30 GMT', now), 30_000)
    assert.equal(parseRetryAfter('Wed, 31 Dec 2025 00:00:30 GMT', now), 0)
    for (const bad of [undefined, '', '-1', '1.5', 'soon'])
      assert.equal(parseRetryAfter(bad, now), undefined, String(bad))
  })

  test('the next page is found among links of all kinds', () => {
    assert.equal(nextLink('</v2/a/tags/list?last=x&n=2>; rel="next"'), '/v2/a/tags/list?last=x&n=2')
    assert.equal(nextLink('<b>; rel=prev, <c,d>; title="a, b"; rel=next'), 'c,d')
    assert.equal(nextLink(['<b>; rel="first"', '<c>; rel="last next"']), 'c')
    for (const bad of [undefined, '', '<a>', '<a>; rel="nextish"', 'a; rel="next"', '<a>; title="rel=next"'])
      assert.equal(nextLink(bad), undefined, String(bad))
    const parts = fc.constantFrom('<', '>', ';', ' ', 'rel', '=', '"', 'next', ',', 'x')
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 100 }), texts => {
        assert.ok(!nextLink(texts.join(''))?.includes('>'))
      }),
    )
  })

  test('a media type loses its parameters', () => {
    assert.equal(mediaTypeOf('Application/JSON; charset=utf-8'), 'application/json')
    assert.equal(mediaTypeOf(undefined), '')
  })
})
