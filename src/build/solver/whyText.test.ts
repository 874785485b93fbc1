import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Cause } from './why.ts'
import { whyText } from './whyText.ts'

const says = (cause: Cause, text: string): void => assert.equal(whyText(cause), text)

test('--no-cache', () => says({ kind: 'ignored' }, 'it was to be made anew (--no-cache, --no-cache-filter)'))

test('the first of its kind', () => says({ kind: 'first' }, 'nothing like it was made before'))

test('what is gone', () => {
  says({ kind: 'pruned' }, 'it was pruned')
  says({ kind: 'lost' }, 'its files were not there any more')
})

test('an instruction', () =>
  says(
    { kind: 'instruction', before: 'make', after: 'make all' },
    'the instruction was make and is make all',
  ))

test('an argument', () => {
  const version = { kind: 'argument', name: 'VERSION' } as const
  says({ ...version, before: '1', after: '2' }, 'the build argument VERSION was 1 and is 2')
  says({ ...version, after: '2' }, 'the build argument VERSION is 2, and was not given before')
  says({ ...version, before: '1' }, 'the build argument VERSION was 1, and is not given any more')
  says({ ...version, before: '', after: '2' }, 'the build argument VERSION was "" and is 2')
})

test('a variable', () =>
  says({ kind: 'variable', name: 'PATH', before: '/a', after: '/b' }, 'the variable PATH was /a and is /b'))

test('the platform', () =>
  says(
    { kind: 'platform', before: 'linux/amd64', after: 'linux/arm64' },
    'the platform was linux/amd64 and is linux/arm64',
  ))

test('a mount', () => {
  const mount = { kind: 'mount', target: '/src' } as const
  says({ ...mount, before: '{}', after: '{"x":1}' }, 'the mount at /src has other options')
  says({ ...mount, after: '{}' }, 'the mount at /src is new')
  says({ ...mount, before: '{}' }, 'the mount at /src is not there any more')
})

test('a setting', () =>
  says({ kind: 'setting', name: 'directory', before: '/a', after: '/b' }, 'the directory was /a and is /b'))

test('what it stands on', () =>
  says(
    { kind: 'parent', role: 'files below', from: '[build 1/2] RUN make' },
    'the step before it ([build 1/2] RUN make) gave something else',
  ))

test('a file', () => {
  const file = { kind: 'file', role: 'files copied', from: '[internal] load build context' } as const
  says(
    { ...file, path: 'app/x', change: 'changed', before: 'ab12', after: 'cd34' },
    'the file /app/x changed (before ab12, now cd34)',
  )
  says({ ...file, path: 'app/x', change: 'added', after: 'cd34' }, 'the file /app/x is new')
  says({ ...file, path: 'app/x', change: 'removed', before: 'ab12' }, 'the file /app/x is not there any more')
  says(
    { ...file, path: 'app/', change: 'changed', before: 'ab12', after: 'cd34' },
    'something in the folder /app/ changed (before ab12, now cd34)',
  )
})

test('files that are not told', () =>
  says(
    { kind: 'content', role: 'files copied', from: '[internal] load build context' },
    'what it takes of [internal] load build context changed',
  ))

test('whatever a value is, it is one line that no terminal obeys, and no more than so long', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(60), (value, times) => {
      const before = value.repeat(times % 7) + '\n'.repeat(times)
      const text = whyText({ kind: 'argument', name: 'A', before, after: value })
      assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
      assert.ok(text.length < 3000)
    }),
  )
})
