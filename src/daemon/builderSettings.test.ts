import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builderSettingsOf } from './builderSettings.ts'

test('what builds may ask for is as dockerd has it, unless the file says otherwise', () => {
  assert.deepEqual([...builderSettingsOf(undefined).entitlements], ['network.host'])
  const given = { Entitlements: { 'network-host': false, 'security-insecure': true } }
  assert.deepEqual([...builderSettingsOf(given).entitlements], ['security.insecure'])
})

test('wrong fields are refused by name', () => {
  assert.throws(() => builderSettingsOf([]), /builder is not an object/)
  assert.throws(
    () => builderSettingsOf({ entitlements: { 'security-insecure': 'yes' } }),
    /builder\.entitlements\.security-insecure is not true or false/,
  )
  assert.throws(() => builderSettingsOf({ gc: { defaultKeepStorage: 'much' } }), /invalid size: 'much'/)
  assert.throws(() => builderSettingsOf({ gc: 1 }), /builder\.gc is not an object/)
})
