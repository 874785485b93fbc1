import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { makeContext } from './buildContexts.ts'
import { buildLog, builds } from './buildHistory.ts'
import type { TestDaemon } from './daemon.ts'
import type { Outcome } from './shell.ts'
import type { Verb } from './verbs.ts'

/** Records of builds, for the crash tests: whatever step the daemon dies at, each build has one that is whole, or none. */

let count = 0
let folder = ''

/** A build whose step says something, which no earlier one did. */
const prepare = async (daemon: TestDaemon): Promise<void> => {
  count += 1
  folder = makeContext(daemon, ['FROM busybox', `RUN echo said ${count}; test ! -e /said`])
}

const build = (daemon: TestDaemon): Promise<Outcome> => daemon.docker(['build', '-q', folder])

const filesOf = (daemon: TestDaemon): string[] =>
  readdirSync(path.join(daemon.dataRoot, 'build', 'history')).sort()

const isRecorded = async (daemon: TestDaemon, point: string): Promise<void> => {
  const [newest] = await builds(daemon)
  assert.ok(newest)
  const log = await buildLog(daemon, newest.Ref)
  if (point === 'build-history.kept') {
    assert.equal(newest.Status, 'completed')
    assert.match(log, new RegExp(`said ${count}\n`))
  } else {
    assert.equal(newest.Status, 'error')
    assert.match(newest.Error, /the daemon ended before the build did/)
  }
  assert.ok(filesOf(daemon).every(name => /\.(?:json|log)$/.test(name)))
}

/** All that is left is whole. */
const areForgotten = async (daemon: TestDaemon, told: boolean): Promise<void> => {
  const before = await builds(daemon)
  if (told) assert.deepEqual(before, [])
  for (const { Ref } of before) await daemon.json('DELETE', `/berth/v1/builds/${Ref}`)
  assert.deepEqual(await builds(daemon), [])
  assert.deepEqual(filesOf(daemon), [])
}

/** Each record, until one cannot be forgotten. */
const forgetAll = async (daemon: TestDaemon): Promise<Outcome> => {
  try {
    for (const { Ref } of await builds(daemon)) await daemon.json('DELETE', `/berth/v1/builds/${Ref}`)
    return { code: 0, stdout: '', stderr: '' }
  } catch (error) {
    return { code: 1, stdout: '', stderr: String(error) }
  }
}

export const buildHistoryVerbs: Verb[] = [
  {
    name: 'a build that is recorded',
    points: ['build-history.noted', 'build-history.kept'],
    prepare,
    run: build,
    check: (daemon, { point }) => isRecorded(daemon, point),
  },
  {
    name: 'records are forgotten',
    points: ['build-history.removed'],
    prepare: async daemon => {
      await prepare(daemon)
      assert.equal((await build(daemon)).code, 0)
    },
    run: forgetAll,
    check: (daemon, { told }) => areForgotten(daemon, told),
  },
]
