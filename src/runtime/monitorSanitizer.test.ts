import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { monitorBinary } from './monitorRig.ts'

/** The behaviour tests once more, on the binary with the address and undefined-behaviour sanitizers. */
test('runs, logs and attached clients raise no sanitizer report', () => {
  monitorBinary('-asan')
  const files = ['monitorRun', 'monitorLog', 'monitorAttach', 'monitorFork'].map(name =>
    path.join(import.meta.dirname, `${name}.test.ts`),
  )
  const env: NodeJS.ProcessEnv = { ...process.env, BERTH_MONITOR_VARIANT: '-asan' }
  /* Else the inner runner takes itself for a part of this one and reports nothing. */
  delete env['NODE_TEST_CONTEXT']
  const result = spawnSync(process.execPath, ['--test', '--test-reporter=tap', ...files], {
    encoding: 'utf8',
    env,
  })
  assert.equal(result.status, 0, result.stdout)
  assert.match(result.stdout, /^# pass [1-9]\d+$/m)
})
