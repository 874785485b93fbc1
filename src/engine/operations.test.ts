import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasCode } from '../core/errors.ts'
import { Operations } from './operations.ts'

const subject = { type: 'container', id: 'abc', name: 'web' }

test('an operation is listed from its begin to its end', () => {
  const operations = new Operations()
  {
    using operation = operations.begin({ verb: 'start', subject })
    operation.at('mounting')
    assert.deepEqual(operations.all(), [operation])
    assert.equal(operations.get(operation.id).step, 'mounting')
  }
  assert.deepEqual(operations.all(), [])
  assert.throws(
    () => operations.get('gone'),
    error => hasCode(error, 'not-found'),
  )
})

test('a cancelled operation throws at its next step, and says by whom', () => {
  using operation = new Operations().begin({ verb: 'start', subject })
  operation.cancel('curl')
  assert.throws(() => operation.at('mounting'), /^BerthError: start of container web was cancelled by curl$/)
  assert.throws(() => operation.commit('too late'), /cancelled by curl/)
})

test('one that cannot be taken back refuses', () => {
  using operation = new Operations().begin({ verb: 'rm', subject })
  operation.commit('the container is gone')
  assert.throws(
    () => operation.cancel('curl'),
    /rm of container web cannot be cancelled any more: the container is gone/,
  )
  assert.equal(operation.signal.aborted, false)
})

test('one that ends with its client gets the reason of its going', () => {
  using operation = new Operations().begin({ verb: 'load', subject: { type: 'images', id: '', name: '' } })
  const client = new AbortController()
  operation.endWith(client.signal)
  client.abort(new Error('the client closed the connection'))
  assert.throws(() => operation.at('reading'), /closed the connection/)
})
