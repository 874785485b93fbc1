import assert from 'node:assert/strict'
import { test } from 'node:test'
import { messageOf } from '../core/errors.ts'
import { allPortsAllocated, PortTable, portAllocated } from './port-table.ts'
import type { PortRequest } from './types.ts'

const place = (hostIp: string, hostPort: number, protocol: 'tcp' | 'udp' = 'tcp') => ({
  protocol,
  hostIp,
  hostPort,
  containerPort: 80,
})

const request = (hostPortFirst: number, hostPortLast = hostPortFirst): PortRequest => ({
  protocol: 'tcp',
  containerPort: 80,
  hostIp: '0.0.0.0',
  hostPortFirst,
  hostPortLast,
})

test('a port on all addresses excludes it on each, and the other way round', () => {
  const table = new PortTable()
  table.take('a', place('127.0.0.1', 80))
  assert.equal(table.holder(place('0.0.0.0', 80)), 'a')
  assert.equal(table.holder(place('192.0.2.1', 80)), undefined)
  assert.equal(table.holder(place('127.0.0.1', 80, 'udp')), undefined)
  table.take('b', place('192.0.2.1', 80))
  table.free('a', place('127.0.0.1', 80))
  assert.equal(table.holder(place('127.0.0.1', 80)), undefined)
  assert.equal(table.holder(place('0.0.0.0', 80)), 'b')
  table.free('a', place('192.0.2.1', 80))
  assert.equal(table.holder(place('192.0.2.1', 80)), 'b')
})

test('wildcards are those of their families', () => {
  const table = new PortTable()
  table.take('a', place('0.0.0.0', 80))
  assert.equal(table.holder(place('::', 80)), undefined)
  assert.equal(table.holder(place('2001:db8::1', 80)), undefined)
  table.take('b', place('::', 80))
  assert.equal(table.holder(place('2001:db8::1', 80)), 'b')
  assert.equal(table.holder(place('192.0.2.1', 80)), 'a')
  assert.match(
    messageOf(portAllocated({ hostIp: '::', hostPort: 80 }, undefined)),
    /Bind for \[::\]:80 failed/,
  )
})

test('a range is tried from its start; ephemeral ports go on from the last and come round', () => {
  const table = new PortTable({ first: 100, last: 102 })
  assert.deepEqual([...table.candidates(request(8000, 8002))], [8000, 8001, 8002])
  const ephemeral = (): number | undefined => {
    for (const port of table.candidates(request(0))) return port
  }
  assert.deepEqual([1, 2, 3, 4].map(ephemeral), [100, 101, 102, 100])
  assert.deepEqual([...table.candidates(request(0))], [101, 102, 100])
})

test("a conflict is said in Docker's words with the holder's name", () => {
  const port = { hostIp: '0.0.0.0', hostPort: 8080 }
  assert.equal(
    messageOf(portAllocated(port, undefined)),
    'Bind for 0.0.0.0:8080 failed: port is already allocated',
  )
  assert.match(messageOf(portAllocated(port, 'web')), /already allocated \(by container web\)$/)
  assert.equal(
    messageOf(allPortsAllocated(request(8000, 8002), ['web', 'mail'])),
    'Bind for 0.0.0.0:8000-8002 failed: all ports are allocated (by container web, mail)',
  )
})
