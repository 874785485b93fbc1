import assert from 'node:assert/strict'
import { test } from 'node:test'
import { profileName } from './appArmor.ts'

test('a container has the profile that it names, or the default one unless it is privileged', () => {
  assert.equal(profileName({}, true), 'docker-default')
  assert.equal(profileName({ Privileged: true }, true), 'unconfined')
  assert.equal(profileName({ SecurityOpt: ['apparmor=own'] }, true), 'own')
  assert.equal(profileName({ SecurityOpt: ['apparmor=own'], Privileged: true }, true), 'own')
  assert.equal(profileName({ SecurityOpt: ['apparmor=own'] }, false), undefined)
})
