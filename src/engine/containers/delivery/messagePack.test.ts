import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packEventTime, packList, packMap, packNumber, packString, readAck } from './messagePack.ts'

const hex = (bytes: Buffer): string => bytes.toString('hex')

test('each form is the shortest that holds the value', () => {
  assert.equal(hex(packString('abc')), 'a3616263')
  assert.equal(hex(packString('é'.repeat(20))).slice(0, 4), 'd928')
  assert.equal(hex(packString('x'.repeat(300))).slice(0, 6), 'da012c')
  assert.equal(hex(packString('x'.repeat(70_000))).slice(0, 10), 'db00011170')
  assert.deepEqual(
    [0, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_295].map(value => hex(packNumber(value))),
    ['00', '7f', 'cc80', 'ccff', 'cd0100', 'cdffff', 'ce00010000', 'ceffffffff'],
  )
  assert.equal(hex(packList([packNumber(1), packNumber(2)])), '920102')
  assert.equal(hex(packList(Array(16).fill(packNumber(0)))).slice(0, 6), 'dc0010')
  assert.equal(hex(packMap({ a: packNumber(1) })), '81a16101')
  const many = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`k${index}`, packNumber(0)]))
  assert.equal(hex(packMap(many)).slice(0, 6), 'de0010')
  assert.equal(hex(packEventTime(1_000_000_001n)), 'd7000000000100000001')
})

test('an acknowledgement is read however it comes', () => {
  const ack = packMap({ ack: packString('abc=') })
  for (let cut = 0; cut < ack.length; cut++) assert.equal(readAck(ack.subarray(0, cut)), undefined)
  const two = readAck(Buffer.concat([ack, ack]))
  assert.deepEqual([two?.chunk, two && hex(two.rest)], ['abc=', hex(ack)])
  assert.throws(() => readAck(packMap({ nack: packString('a') })), /has nack in place of ack/)
  assert.throws(() => readAck(Buffer.from('HTTP/1.1 400')), /no map of one entry/)
})
