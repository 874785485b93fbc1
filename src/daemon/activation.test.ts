import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseActivated, parseActivation } from './activation.ts'

const sockets = parseActivation({ LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'api::api' }, 7)

test('sockets are counted from 3 on, and named as their units say', () => {
  assert.deepEqual(sockets, [
    { fd: 3, name: 'api' },
    { fd: 4, name: 'unknown' },
    { fd: 5, name: 'api' },
  ])
})

test('what was meant for another process, or is no number, is none', () => {
  assert.deepEqual(parseActivation({ LISTEN_PID: '8', LISTEN_FDS: '1' }, 7), [])
  assert.deepEqual(parseActivation({ LISTEN_PID: '7', LISTEN_FDS: 'x' }, 7), [])
  assert.deepEqual(parseActivation({}, 7), [])
})

test('fd:// means all, a number one, a name those of it', () => {
  const of = (which: string): number[] => chooseActivated(sockets, which).map(({ fd }) => fd)
  assert.deepEqual([of(''), of('*'), of('4'), of('api')], [[3, 4, 5], [3, 4, 5], [4], [3, 5]])
  assert.throws(() => of('other'), /fd:\/\/other: systemd passed no such socket: there are 3 \(api\)/)
  assert.throws(() => chooseActivated([], ''), /no sockets found via socket activation/)
})
