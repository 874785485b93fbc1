import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ExecMount } from '../../graph/types.ts'
import { type ContainerRequest, operationOf, type ProcessRequest, withProcess } from './containerRequest.ts'

const bind = (target: string): ExecMount => ({
  ...{ kind: 'bind', target, readOnly: true, input: undefined, source: '', output: undefined },
})

const request = (mounts: readonly ExecMount[]): ContainerRequest => ({
  ...{ id: 'box', platform: { os: 'linux', architecture: 'amd64' }, inputs: [], mounts, network: 'none' },
  ...{ hostname: 'named', extraHosts: [], granted: new Set() },
})

const asked: ProcessRequest = {
  ...{ args: ['sh'], env: [], user: '', security: 'sandbox', secretEnv: [], directory: '' },
  streams: { terminal: false, stdin: true, stdout: true, stderr: true },
}

test('the root comes first and can be written to; what others lie in comes before them', () => {
  const { mounts, network, hostname } = operationOf(request(['/b/c', '/b', '/', '/a'].map(bind)))
  assert.deepEqual(
    mounts.map(({ target, readOnly }) => [target, readOnly]),
    [
      ['/', false],
      ['/a', true],
      ['/b', true],
      ['/b/c', true],
    ],
  )
  assert.deepEqual([network, hostname], ['none', 'named'])
})

test('a root that is missing, or no bind, is refused', () => {
  assert.throws(() => operationOf(request([bind('/a')])), /container box has no root/)
  assert.throws(
    () => operationOf(request([{ kind: 'tmpfs', target: '/', readOnly: false }])),
    /invalid mount type TMPFS for \//,
  )
})

test('a terminal has a TERM, unless one is given', () => {
  const operation = operationOf(request([bind('/')]))
  const terminal = { ...asked.streams, terminal: true }
  const env = (given: string[], streams = terminal): string[] =>
    withProcess(operation, { ...asked, env: given, streams }).env
  assert.deepEqual(env(['A=b']), ['A=b', 'TERM=xterm'])
  assert.deepEqual(env(['TERM=dumb']), ['TERM=dumb'])
  assert.deepEqual(env([], asked.streams), [])
  assert.equal(withProcess(operation, { ...asked, directory: 'w/x' }).directory, '/w/x')
  assert.equal(withProcess(operation, asked).directory, '/')
})
