import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** A log that passes the budget of all: the daemon dies at each step of making room. */

interface Usage {
  Berth: { Logs: { CountedBytes: number; BudgetBytes: number } }
}

const usage = async (daemon: TestDaemon): Promise<Usage['Berth']['Logs']> =>
  (await daemon.json<Usage>('GET', '/system/df')).Berth.Logs

const budget = 16 << 20

const giveSmallBudget = async (daemon: TestDaemon): Promise<void> => {
  writeFileSync(path.join(daemon.base, 'daemon.json'), '{"log-budget": "16m"}')
  process.kill(daemon.pid, 'SIGHUP')
  await until('the budget was read', async () => (await usage(daemon)).BudgetBytes === budget)
}

const isHeld = async (daemon: TestDaemon, name: string): Promise<void> => {
  const last = (): Promise<string> => daemon.mustDocker(['logs', '--tail', '1', name])
  await until('all was written', async () => (await last()) === '400000')
  await until('the budget holds', async () => (await usage(daemon)).CountedBytes <= budget)
  const lines = (await daemon.mustDocker(['logs', name])).split('\n')
  assert.ok(lines.length > 10_000)
  assert.equal(lines[0], String(400_000 - lines.length + 1))
  const log = await daemon.mustDocker(['inspect', '-f', '{{.LogPath}}', name])
  assert.ok(!readdirSync(path.dirname(log)).includes(`${path.basename(log)}.trim`))
  await daemon.mustDocker(['rm', '-f', name])
  assert.equal((await usage(daemon)).CountedBytes, 0)
}

const logVerb = (name: string, points: string[], options: string[]): Verb => ({
  name,
  points,
  prepare: giveSmallBudget,
  run: daemon =>
    daemon.docker(
      ['run', '-d', '--name', 'loud'].concat([
        ...options.flatMap(option => ['--log-opt', option]),
        ...['busybox', 'sh', '-c', 'seq 400000; sleep 1000'],
      ]),
    ),
  check: daemon => isHeld(daemon, 'loud'),
})

export const logVerbs: Verb[] = [
  logVerb('a log in many files', ['logs.removed'], ['max-size=2m', 'max-file=20']),
  logVerb('a log in one file', ['logs.rotated', 'logs.shortened', 'logs.replaced'], ['max-size=1g']),
]
