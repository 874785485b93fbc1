import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addedRuntimesOf } from './addedRuntimes.ts'

test('a runtime is given by its path, or by containerd’s shim of runc', () => {
  assert.deepEqual(
    [
      ...addedRuntimesOf({
        plain: '/usr/bin/plain',
        custom: { path: 'custom', runtimeArgs: ['--debug'] },
        shim: { runtimeType: 'io.containerd.runc.v2', options: { BinaryName: '/opt/crun' } },
        bare: { runtimeType: 'io.containerd.runc.v2' },
      }),
    ],
    [
      ['plain', { path: '/usr/bin/plain', args: [] }],
      ['custom', { path: 'custom', args: ['--debug'] }],
      ['shim', { path: '/opt/crun', args: [] }],
      ['bare', { path: 'runc', args: [] }],
    ],
  )
})

test('a runtime that is said twice or not at all is refused by its name', () => {
  const refused = (given: object, message: string | RegExp): void =>
    assert.throws(() => addedRuntimesOf({ x: given }), { status: 400, message })
  const runcShim = 'io.containerd.runc.v2'
  refused({}, 'runtime x: either a runtimeType or a path must be configured')
  refused(
    { path: '/x', runtimeType: runcShim },
    'runtime x: cannot configure both path and runtimeType for the same runtime',
  )
  refused({ path: '/x', options: { a: 1 } }, 'runtime x: options cannot be used with a path runtime')
  refused(
    { runtimeType: runcShim, runtimeArgs: ['-x'] },
    'runtime x: args cannot be used with a runtimeType runtime',
  )
  refused(
    { runtimeType: 'io.containerd.kata.v2' },
    /^runtime x: the runtimeType io\.containerd\.kata\.v2 is a shim/,
  )
  refused({ runtimeType: runcShim, options: { Root: '/r' } }, /the option Root is not supported/)
  assert.throws(() => addedRuntimesOf({ runc: '/x' }), { message: "runtime name 'runc' is reserved" })
})
