import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HostConfig } from '../../wire/container.ts'
import { buildSpec } from './spec.ts'
import type { ContainerRecord } from './types.ts'

const specOf = (hostConfig: HostConfig, daemonOomScore: number) =>
  buildSpec({
    record: { id: 'cafe', config: { Cmd: ['true'] }, hostConfig, mounts: [] } as unknown as ContainerRecord,
    rootfs: '/root',
    cgroupsPath: '/berth/cafe',
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root' },
    files: {},
    linkVariables: [],
    join: {},
    hostCapabilities: [],
    devices: [],
    deviceAccess: [],
    plainFiles: new Set(),
    daemonOomScore,
    annotations: { 'org.systemd.property.Before': "['berth.service']" },
  })

test('a container has no part in what protects the daemon from the OOM killer', () => {
  assert.equal(specOf({}, -500).process.oomScoreAdj, 0)
  assert.equal(specOf({ OomScoreAdj: -10 }, -500).process.oomScoreAdj, -10)
  assert.equal(specOf({ OomScoreAdj: 300 }, 0).process.oomScoreAdj, 300)
})

test('a score that a container may not be able to lower is left as it is', () => {
  for (const score of [0, 200]) assert.equal(specOf({}, score).process.oomScoreAdj, undefined)
})

test('the annotations of a container go before those of the daemon', () => {
  assert.deepEqual(specOf({ Annotations: { a: 'b' } }, 0).annotations, {
    'org.systemd.property.Before': "['berth.service']",
    a: 'b',
  })
})
