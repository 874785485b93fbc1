import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SystemError } from './ffi.ts'

test('a failed call says what failed, on what, and why in words', () => {
  const error = new SystemError('fsopen', 24, 'overlay')
  assert.equal(error.message, 'fsopen overlay: too many open files (EMFILE)')
  assert.equal(error.code, 'EMFILE')
  assert.equal(new SystemError('mount', 19).message, 'mount: no such device (ENODEV)')
  assert.equal(new SystemError('mount', 9999).message, 'mount: errno 9999')
})
