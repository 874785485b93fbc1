import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Edge, ExecMount, FileAction, Operation } from '../graph/types.ts'
import { everything, roleOf, type Seen, seenBy, standsOn } from './seenBy.ts'
import { copyOf, execOf } from './testing/graphs.ts'

const edge: Edge = { vertex: 'sha256:', index: 0 }

const seen = (operation: Operation, count: number): Seen[] =>
  seenBy({ operation, inputs: new Array<Edge>(count).fill(edge) })

const root: ExecMount = { kind: 'bind', target: '/', readOnly: false, input: 0, source: '/', output: 0 }

const mounted = (...mounts: ExecMount[]): Seen[] => seen(execOf({ mounts: [root, ...mounts] }), 2)

const copied = (...actions: FileAction[]): Seen[] => seen({ kind: 'file', base: 0, actions }, 2)

const key: Seen = { by: 'key' }

const content = (...selections: Partial<typeof everything>[]): Seen => ({
  by: 'content',
  selections: selections.map(selection => ({ ...everything, ...selection })),
})

test('the root of an exec counts by its key', () => {
  assert.deepEqual(seen(execOf(), 1), [key])
})

test('a bind whose changes are thrown away counts by the content of its part', () => {
  const bind: ExecMount = {
    kind: 'bind',
    target: '/src',
    readOnly: false,
    input: 1,
    source: '/a',
    output: undefined,
  }
  assert.deepEqual(mounted(bind), [key, content({ path: '/a', followLinks: true })])
  assert.deepEqual(mounted({ ...bind, readOnly: true }), [key, content({ path: '/a', followLinks: true })])
})

test('a bind that is a result counts by content only where all of it is mounted', () => {
  const bind: ExecMount = { kind: 'bind', target: '/src', readOnly: false, input: 1, source: '/a', output: 1 }
  assert.deepEqual(mounted(bind), [key, key])
  assert.deepEqual(mounted({ ...bind, source: '/' }), [key, content({ followLinks: true })])
})

test('several mounts of one input are seen each; one that counts by key is enough for that', () => {
  const bind: ExecMount = {
    kind: 'bind',
    target: '/a',
    readOnly: true,
    input: 1,
    source: '/a',
    output: undefined,
  }
  const other = { ...bind, target: '/b', source: '/b' }
  const [, both] = mounted(bind, other, { ...bind, target: '/twice' })
  assert.deepEqual(both, content({ path: '/a', followLinks: true }, { path: '/b', followLinks: true }))
  assert.deepEqual(mounted(bind, { ...other, readOnly: false, output: 1 }), [key, key])
  assert.deepEqual(mounted({ ...bind, input: 0 }), [key, key])
})

test('what a cache begins with counts by content, what is in it does not', () => {
  const cache: ExecMount = {
    kind: 'cache',
    target: '/c',
    readOnly: false,
    id: 'c',
    sharing: 'shared',
    input: 1,
    source: '/x',
  }
  assert.deepEqual(mounted(cache), [key, content({ path: '/x', followLinks: true })])
})

test('secrets, agents and memory are no input', () => {
  const owner = { required: false, uid: 0, gid: 0, mode: 0o400 }
  const mounts: ExecMount[] = [
    root,
    { kind: 'secret', target: '/s', readOnly: true, id: 's', ...owner },
    { kind: 'ssh', target: '/a', readOnly: true, id: 'a', ...owner },
    { kind: 'tmpfs', target: '/t', readOnly: false },
  ]
  assert.deepEqual(seen(execOf({ mounts }), 1), [key])
})

test('a copy counts by what it selects, as it selects it', () => {
  const copy = copyOf({ source: '/a*', wildcards: true, include: ['x'], exclude: ['y'] })
  const selection = { path: '/a*', wildcards: true, followLinks: true, include: ['x'], exclude: ['y'] }
  assert.deepEqual(copied(copy), [key, content(selection)])
  // Nothing to match: the path is to be there.
  assert.deepEqual(copied(copyOf({ source: '/a', wildcards: true })), [
    key,
    content({ path: '/a', followLinks: true }),
  ])
  const escaped = { path: '/a\\*', followLinks: true }
  assert.deepEqual(copied(copyOf({ source: '/a\\*', wildcards: true })), [key, content(escaped)])
})

test('owners and modes that are set anew do not count, those that are built upon do', () => {
  const of = (own: Parameters<typeof copyOf>[0]) => {
    const [, input] = copied(copyOf({ source: '/a', ...own }))
    const selection = input?.by === 'content' ? input.selections[0] : undefined
    return [selection?.ignoreOwner, selection?.ignoreMode]
  }
  assert.deepEqual(of({}), [false, false])
  assert.deepEqual(of({ owner: { user: '1', names: 'base' } }), [true, false])
  assert.deepEqual(of({ owner: { group: '1', names: 'base' } }), [false, false])
  assert.deepEqual(of({ mode: '0755' }), [false, true])
  assert.deepEqual(of({ mode: 'u+x' }), [false, false])
})

test('names of owners count by the files that know them', () => {
  const owner = { user: 'www', group: 'web', names: 1 }
  const made: FileAction = { kind: 'makeDirectory', path: '/d', mode: 0o755, parents: true, owner }
  const files = [
    { path: '/etc/passwd', followLinks: true },
    { path: '/etc/group', followLinks: true },
  ]
  assert.deepEqual(copied(made), [key, content(...files)])
  assert.deepEqual(copied({ ...made, owner: { user: '5', group: '6', names: 1 } }), [key, key])
  // Those of the base are in its key.
  assert.deepEqual(copied({ ...made, owner: { user: 'www', names: 'base' } }), [key, key])
})

test('what is copied from the base itself is in its key', () => {
  assert.deepEqual(seen({ kind: 'file', base: 0, actions: [copyOf({ from: 0, source: '/a' })] }, 1), [key])
})

test('all that is merged counts by key', () => {
  assert.deepEqual(seen({ kind: 'merge' }, 2), [key, key])
})

test('results stand on bases, on what is merged, and on binds that are results', () => {
  const bind = {
    kind: 'bind',
    target: '/s',
    readOnly: false,
    input: 1,
    source: '/',
    output: undefined,
  } as const
  const exec = execOf({ mounts: [root, bind] })
  assert.deepEqual([standsOn(exec, 0), standsOn(exec, 1)], [true, false])
  assert.equal(standsOn(execOf({ mounts: [root, { ...bind, output: 1 }] }), 1), true)
  const file: Operation = { kind: 'file', base: 0, actions: [copyOf()] }
  assert.deepEqual([standsOn(file, 0), standsOn(file, 1)], [true, false])
  assert.equal(standsOn({ kind: 'merge' }, 1), true)
})

test('roles are in words', () => {
  const bind = {
    kind: 'bind',
    target: '/s',
    readOnly: true,
    input: 1,
    source: '/',
    output: undefined,
  } as const
  const exec = execOf({ mounts: [root, bind] })
  assert.deepEqual([roleOf(exec, 0), roleOf(exec, 1)], ['files below', 'bind /s'])
  assert.equal(roleOf({ kind: 'file', base: 0, actions: [] }, 1), 'files copied')
})
