import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultProfile } from '../../runtime/spec/seccomp.ts'
import type { HostConfig } from '../../wire/container.ts'
import type { SecurityDefaults } from '../settings.ts'
import { buildSpec } from './spec.ts'
import type { ContainerRecord } from './types.ts'

const builtin: SecurityDefaults = {
  noNewPrivileges: false,
  seccomp: { name: 'builtin', profile: defaultProfile },
}

const specOf = (hostConfig: HostConfig, daemonOomScore: number, security = builtin, appArmor = '') =>
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
    plainFiles: new Set(),
    security,
    appArmor,
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

test("the daemon's security is for containers that say nothing of it", () => {
  const own = { defaultAction: 'SCMP_ACT_LOG' }
  const strict = { noNewPrivileges: true, seccomp: { name: '/p.json', profile: own } }
  const loose = { noNewPrivileges: false, seccomp: { name: 'unconfined', profile: undefined } }
  const seccomp = (hostConfig: HostConfig, security: SecurityDefaults) =>
    specOf(hostConfig, 0, security).linux.seccomp?.defaultAction
  assert.equal(specOf({}, 0, strict).process.noNewPrivileges, true)
  assert.equal(specOf({ SecurityOpt: ['no-new-privileges=false'] }, 0, strict).process.noNewPrivileges, false)
  assert.equal(specOf({}, 0).process.noNewPrivileges, false)
  assert.equal(seccomp({}, strict), 'SCMP_ACT_LOG')
  assert.equal(seccomp({ SecurityOpt: ['seccomp=builtin'] }, strict), 'SCMP_ACT_ERRNO')
  assert.equal(seccomp({ SecurityOpt: ['seccomp=unconfined'] }, strict), undefined)
  assert.equal(seccomp({ Privileged: true }, strict), undefined)
  assert.equal(seccomp({}, loose), undefined)
  assert.equal(seccomp({}, builtin), 'SCMP_ACT_ERRNO')
})

test('a profile of AppArmor is told to the runtime where there is one', () => {
  assert.equal(specOf({}, 0, builtin, 'docker-default').process.apparmorProfile, 'docker-default')
  assert.ok(!('apparmorProfile' in specOf({}, 0).process))
})

test('swap is limited as asked, to as much as memory where nothing is said, and not at all below zero', () => {
  const swap = (hostConfig: HostConfig) => specOf(hostConfig, 0).linux.resources.memory?.swap
  assert.equal(swap({ Memory: 100, MemorySwap: 150 }), 150)
  assert.equal(swap({ Memory: 100 }), 200)
  assert.equal(swap({ Memory: 100, MemorySwap: -1 }), undefined)
})
