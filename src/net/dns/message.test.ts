import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { addressAnswer, emptyAnswer, outgoing, renderAnswer, renderRefusal } from './compose.ts'
import { Framing, framed } from './framing.ts'
import { type Answer, datagramLimit, foldCase, parseAnswer, parseQuery, type Query } from './message.ts'
import { address, datas, decode, query, reply } from './testing/packets.ts'

const parsed = (bytes: Buffer): Query => {
  const result = parseQuery(bytes)
  assert.ok('query' in result)
  return result.query
}

const refused = (bytes: Buffer) => {
  const result = parseQuery(bytes)
  assert.ok('refusal' in result)
  return decode(renderRefusal(result.refusal))
}

const changed = (bytes: Buffer, change: (bytes: Buffer) => void): Buffer => {
  change(bytes)
  return bytes
}

describe('DNS messages', () => {
  test('any bytes are parsed without a throw, and what is refused stays readable', () => {
    const mutated = fc
      .tuple(fc.domain(), fc.array(fc.tuple(fc.nat(60), fc.nat(255))), fc.nat(80))
      .map(([name, changes, length]) => {
        const bytes = query(name, { size: 1232 })
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte
        return bytes.subarray(0, length)
      })
    const noise = fc.uint8Array({ maxLength: 600 }).map(bytes => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(mutated, noise), bytes => {
        const result = parseQuery(bytes)
        if ('refusal' in result)
          assert.equal(renderRefusal(result.refusal).readUInt16BE(0), bytes.readUInt16BE(0))
        if (!('query' in result)) return
        const answer = renderAnswer(result.query, addressAnswer(['10.0.0.1']), 512)
        assert.equal(answer.readUInt16BE(6), 1)
      }),
    )
  })

  test('any answer of an upstream is taken whole or not at all, without a throw', () => {
    const asked = parsed(query('example.com'))
    const question = foldCase(asked.question.bytes)
    const whole = reply(query('example.com'), { answers: [address('example.com', '192.0.2.1')] })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(200), fc.nat(255))), fc.nat(60), (changes, length) => {
        const bytes = Buffer.from(whole)
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte
        const answer = parseAnswer(bytes.subarray(0, length), { id: 7, question })
        if (answer) assert.ok(renderAnswer(asked, answer, 512).length <= 512)
      }),
    )
    const taken = parseAnswer(whole, { id: 7, question })
    assert.deepEqual(datas(renderAnswer(asked, taken ?? emptyAnswer(2), 512)), ['192.0.2.1'])
    assert.equal(parseAnswer(whole, { id: 8, question }), undefined)
  })

  test('what is no query is dropped or refused', () => {
    assert.deepEqual(parseQuery(Buffer.alloc(11)), { drop: true })
    assert.deepEqual(parseQuery(reply(query('a'), {})), { drop: true })
    assert.equal(refused(changed(query('a'), bytes => bytes.writeUInt16BE(2, 4))).rcode, 'FORMERR')
    assert.equal(refused(query('a').subarray(0, 14)).rcode, 'FORMERR')
    assert.equal(refused(changed(query('a'), bytes => bytes.writeUInt16BE(0x2000, 2))).rcode, 'NOTIMP')
    assert.equal(refused(query('a', { type: 'AXFR' })).rcode, 'REFUSED')
    // EDNS version 1: BADVERS has 1 in the upper bits that the OPT carries.
    const version = changed(query('a', { size: 1232 }), bytes => bytes.writeUInt8(1, bytes.length - 5))
    const [opt] = refused(version).additionals ?? []
    assert.equal(opt?.type === 'OPT' && opt.extendedRcode, 1)
  })

  test('an asker gets what it allows, within bounds', () => {
    assert.deepEqual(
      [undefined, 100, 1232, 65_535].map(size =>
        datagramLimit(parsed(query('a', size === undefined ? {} : { size })).edns),
      ),
      [512, 512, 1232, 4096],
    )
    const asked = parsed(query('a'))
    const many: Answer = addressAnswer(Array.from({ length: 60 }, (_, i) => `10.0.0.${i}`))
    const cut = renderAnswer(asked, many, 512)
    assert.ok(decode(cut).flag_tc)
    assert.equal(datas(cut).length, Math.floor((512 - 12 - 7) / 16))
  })

  test('an outgoing question is what was asked, in lower case', () => {
    const question = foldCase(parsed(query('ExAmple.COM')).question.bytes)
    const { id, bytes } = outgoing({ question, flags: 0x0100, dnssec: true }, true)
    const seen = decode(bytes)
    assert.deepEqual([seen.id, seen.questions?.[0]?.name, seen.flag_rd], [id, 'example.com', true])
    const [opt] = seen.additionals ?? []
    assert.equal(opt?.type === 'OPT' && opt.flag_do, true)
  })

  test('a stream is taken apart however it was cut', () => {
    const messages = [query('a'), Buffer.alloc(0), query('b.example')]
    const stream = Buffer.concat(messages.map(framed))
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length)), cuts => {
        const framing = new Framing()
        const places = [0, ...cuts.sort((a, b) => a - b), stream.length]
        const seen = places.flatMap((end, i) => framing.push(stream.subarray(places[i - 1] ?? 0, end)))
        assert.deepEqual(seen, messages)
      }),
    )
  })
})
