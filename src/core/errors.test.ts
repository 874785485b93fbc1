import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asBerthError, badRequest } from './errors.ts'

test('what the system refused says what can be done about it', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
  const error = asBerthError(full)
  assert.equal(error.status, 500)
  assert.equal(error.cause, full)
  assert.match(error.message, /^ENOSPC: no space left on device, write; free some space and try again/)
})

test('errors that say it themselves, and those of which nothing is known, stay as they are', () => {
  const own = badRequest('no')
  assert.equal(asBerthError(own), own)
  assert.equal(asBerthError(new Error('strange')).message, 'strange')
  assert.equal(asBerthError('text').message, 'text')
})
