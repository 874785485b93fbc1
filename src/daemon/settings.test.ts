import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readConfig } from './config.ts'
import { settingsOf } from './settings.ts'

const engineOf = (...flags: string[]) => settingsOf(readConfig(flags)).engine
const systemd = ['--exec-opt', 'native.cgroupdriver=systemd']
const cgroupfs = ['--exec-opt', 'native.cgroupdriver=cgroupfs']

test('control groups lie in a slice with systemd, and below a group of the daemon without', () => {
  assert.equal(engineOf(...systemd).cgroupParent, 'system.slice')
  assert.equal(engineOf(...systemd, '--cgroup-parent', 'a-b.slice').cgroupParent, 'a-b.slice')
  assert.equal(engineOf(...cgroupfs).cgroupParent, '/berth')
  assert.match(engineOf(...cgroupfs, '--exec-root', '/tmp/other').cgroupParent, /^\/berth-[a-f0-9]{8}$/)
})

test('daemons of different exec-roots give their scopes different names', () => {
  assert.equal(engineOf(...systemd).scopePrefix, 'berth')
  assert.match(engineOf(...systemd, '--exec-root', '/tmp/other').scopePrefix, /^berth-[a-f0-9]{8}$/)
})

test('with systemd a parent that is no slice is refused', () => {
  assert.throws(() => engineOf(...systemd, '--cgroup-parent', '/berth'), {
    status: 400,
    message: /valid slice named as "xxx.slice"/,
  })
})
