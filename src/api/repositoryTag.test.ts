import assert from 'node:assert/strict'
import { it } from 'node:test'
import { familiar } from '../oci/reference.ts'
import { repositoryTag } from './repositoryTag.ts'
import { Query } from './route.ts'

const named = (query: string): string | undefined => {
  const reference = repositoryTag(new Query(query))
  return reference && familiar(reference)
}

it('repo and tag make a name', () => {
  assert.equal(named('repo=a&tag=b'), 'a:b')
  assert.equal(named('repo=a'), 'a:latest')
  assert.equal(named('repo=a:c'), 'a:c')
  assert.equal(named('repo=a:c&tag=b'), 'a:b')
  assert.equal(named('repo=localhost:5000/a&tag=b'), 'localhost:5000/a:b')
  assert.equal(named('tag=b'), undefined)
})

it('what is no tag is refused', () => {
  assert.throws(() => named('repo=A'), { code: 'bad-request' })
  assert.throws(() => named('repo=a&tag=b/c'), { code: 'bad-request' })
  assert.throws(() => named(`repo=a@sha256:${'0'.repeat(64)}`), { message: 'cannot import digest reference' })
})
