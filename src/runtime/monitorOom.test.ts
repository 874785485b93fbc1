import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { launch, makeRig } from './monitorRig.ts'
import type { ExitRecord } from './types.ts'

/**
 * Control groups version 2 played by plain files: systemd may remove a scope
 * before the monitor has read that its process was killed for want of memory.
 */
const run = async (t: TestContext, script: string): Promise<ExitRecord & { told: number }> => {
  const slice = mkdtempSync('/tmp/berth-monitor-test-slice-')
  t.after(() => rmSync(slice, { recursive: true }))
  const scope = path.join(slice, 'scope')
  mkdirSync(scope)
  writeFileSync(path.join(slice, 'memory.events'), 'max 9\noom 4\noom_kill 4\n')
  writeFileSync(path.join(scope, 'memory.events'), 'max 0\noom 0\noom_kill 0\n')
  const rig = makeRig(t, {
    script: `cd ${slice}; ${script}`,
    change: { memoryCgroup: scope },
  })
  let told = 0
  const { client, exited } = await launch(rig, { oom: () => told++ })
  await client.start()
  const record = await exited
  await client.release()
  return { ...record, told }
}

const pressure = "printf 'max 3\\noom 0\\noom_kill 0\\n' > scope/memory.events"
const ownKill = "printf 'max 3\\noom 1\\noom_kill 1\\n' > scope/memory.events"
const parentKill = "printf 'max 12\\noom 5\\noom_kill 5\\n' > memory.events"

test('an OOM kill is read from the counters of the cgroup', async t => {
  const record = await run(t, `${ownKill}; kill -KILL $$`)
  assert.equal(record.oomKilled, true)
  assert.equal(record.told, 1)
})

test('an OOM kill is told where the cgroup is gone before its counters were read', async t => {
  const record = await run(t, `${pressure}; rm -r scope; ${parentKill}; kill -KILL $$`)
  assert.equal(record.exitCode, 137)
  assert.equal(record.oomKilled, true)
  assert.equal(record.told, 1)
})

test('an OOM kill elsewhere in the slice is not taken for one', async t => {
  for (const script of [
    `rm -r scope; ${parentKill}; kill -KILL $$`,
    `${pressure}; rm -r scope; ${parentKill}; exit 3`,
    `${pressure}; rm -r scope; kill -KILL $$`,
  ]) {
    const record = await run(t, script)
    assert.equal(record.oomKilled, false, script)
    assert.equal(record.told, 0, script)
  }
})
