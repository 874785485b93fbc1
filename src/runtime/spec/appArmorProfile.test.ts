import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { appArmorProfile } from './appArmorProfile.ts'

test('a profile has what the host’s folder offers, and is named and closed', () => {
  const bare = appArmorProfile('docker-default', { daemon: 'unconfined', has: () => false })
  assert.match(bare, /^@\{PROC\}=\/proc\/\nprofile "docker-default" flags=.* \{\n/)
  assert.doesNotMatch(bare, /#include|abi </)
  assert.match(bare, /\n\}\n$/)
  const full = appArmorProfile('docker-default', { daemon: 'my daemon', has: () => true })
  assert.match(full, /^abi <abi\/3\.0>,\n#include <tunables\/global>\n/)
  assert.match(full, /\n#include <abstractions\/base>\n/)
  assert.match(full, /signal \(receive\) peer="my daemon",/)
})

test('apparmor_parser takes the profile', t => {
  const text = appArmorProfile('docker-default', { daemon: 'berthd', has: () => false })
  const parser = spawnSync('apparmor_parser', ['--skip-kernel-load', '--skip-cache'], { input: text })
  if (parser.error) return t.skip('this host has no apparmor_parser')
  assert.equal(parser.status, 0, parser.stderr.toString())
})
