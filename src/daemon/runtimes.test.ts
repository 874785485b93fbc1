import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdtempDisposable } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { createLog } from '../core/log.ts'
import { readConfig } from './config.ts'
import { findRuntimes } from './runtimes.ts'
import { settingsOf } from './settings.ts'

/** What is said at a start with binaries of these names that tell these versions. */
const saidWith = async (binaries: Record<string, string>, ...flags: string[]): Promise<string> => {
  await using folder = await mkdtempDisposable('/tmp/berth-runtimes-')
  for (const [name, told] of Object.entries(binaries))
    writeFileSync(path.join(folder.path, name), `#!/bin/sh\necho '${told}'\n`, { mode: 0o755 })
  const before = process.env['PATH'] ?? ''
  process.env['PATH'] = `${folder.path}:${before}`
  try {
    let said = ''
    const log = createLog({ level: 'warn', format: 'text', write: line => (said += line) })
    await findRuntimes(settingsOf(readConfig(flags)), log)
    return said
  } finally {
    process.env['PATH'] = before
  }
}

test('an old runc that is the default is told of, with what to do', async () => {
  const old = { crun: 'crun version 1.8.1', runc: 'runc version 1.1.5+ds1' }
  assert.match(
    await saidWith(old, '--default-runtime=runc'),
    /runc is runc 1\.1\.5\+ds1: .*CVE-2024-45310.*install crun or a newer runc/,
  )
  assert.equal(await saidWith(old), '')
  assert.equal(await saidWith({ ...old, runc: 'runc version 1.1.14' }, '--default-runtime=runc'), '')
  assert.equal(await saidWith({ ...old, runc: 'runc version 1.2.0-rc.1' }, '--default-runtime=runc'), '')
})
