import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SpecProcess } from '../../oci/runtimeSpec.ts'
import { enteredProcess } from './enteredProcess.ts'

const base: SpecProcess = {
  terminal: true,
  consoleSize: { height: 1, width: 2 },
  user: { uid: 5, gid: 6, additionalGids: [7] },
  args: ['first'],
  env: ['OF=first'],
  cwd: '/first',
  capabilities: { bounding: ['A'], effective: [], inheritable: [], permitted: [], ambient: [] },
  noNewPrivileges: true,
  apparmorProfile: 'profile',
}

const own = { args: ['own'], env: ['OF=own'], directory: '', terminal: false }
const root = { uid: 0, gid: 0, additionalGids: [], home: '/root' }

test('a further process is confined as the first one, and has its folder and user unless told', () => {
  const process = enteredProcess(base, own)
  assert.deepEqual([process.args, process.env, process.cwd], [['own'], ['OF=own'], '/first'])
  assert.deepEqual(process.user, base.user)
  assert.deepEqual([process.terminal, process.consoleSize], [false, undefined])
  assert.deepEqual([process.noNewPrivileges, process.apparmorProfile], [true, 'profile'])
  assert.deepEqual([process.capabilities.bounding, process.capabilities.effective], [['A'], []])
  assert.equal(enteredProcess(base, { ...own, directory: '/own' }).cwd, '/own')
})

test('only root has what it may have', () => {
  assert.deepEqual(enteredProcess(base, { ...own, user: root }).capabilities.effective, ['A'])
  const privileged = enteredProcess(base, { ...own, user: root, capabilities: ['A', 'B'] })
  assert.deepEqual(privileged.capabilities.permitted, ['A', 'B'])
  const other = enteredProcess(base, { ...own, capabilities: ['A', 'B'] })
  assert.deepEqual([other.capabilities.bounding, other.capabilities.permitted], [['A', 'B'], []])
})
