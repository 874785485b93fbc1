import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineSettings } from '../settings.ts'
import { checkSlice, containerGroup, scopeAnnotations } from './groups.ts'
import type { ContainerRecord } from './types.ts'

const settings = (change: Partial<EngineSettings>): EngineSettings =>
  ({
    cgroupDriver: 'systemd',
    cgroupParent: 'system.slice',
    scopePrefix: 'berth-0a',
    unit: '',
    ...change,
  }) as EngineSettings

const record = (CgroupParent = ''): ContainerRecord =>
  ({ id: 'cafe', hostConfig: { CgroupParent } }) as ContainerRecord

test('a scope lies in its slice, which lies in the slices that its name says', () => {
  assert.deepEqual(containerGroup(settings({}), record()), {
    specPath: 'system.slice:berth-0a:cafe',
    group: '/system.slice/berth-0a-cafe.scope',
  })
  assert.deepEqual(containerGroup(settings({}), record('a-b-c.slice')), {
    specPath: 'a-b-c.slice:berth-0a:cafe',
    group: '/a.slice/a-b.slice/a-b-c.slice/berth-0a-cafe.scope',
  })
})

test('without systemd a group has the path of its parent', () => {
  const plain = settings({ cgroupDriver: 'cgroupfs', cgroupParent: '/berth' })
  assert.equal(containerGroup(plain, record()).specPath, '/berth/cafe')
  assert.equal(containerGroup(plain, record('own/place')).group, '/own/place/cafe')
})

test('only a slice can be the parent of a scope', () => {
  checkSlice('a.slice')
  for (const wrong of ['/berth', '.slice', 'a.scope'])
    assert.throws(() => checkSlice(wrong), { status: 400, message: /valid slice named as "xxx.slice"/ })
})

test('scopes that failed are not kept, and are stopped after the unit of the daemon', () => {
  const collect = { 'org.systemd.property.CollectMode': "'inactive-or-failed'" }
  assert.deepEqual(scopeAnnotations(settings({})), collect)
  assert.deepEqual(scopeAnnotations(settings({ unit: 'berth.service' })), {
    ...collect,
    'org.systemd.property.Before': "['berth.service']",
  })
  assert.deepEqual(scopeAnnotations(settings({ unit: 'berth.service', cgroupDriver: 'cgroupfs' })), {})
})
