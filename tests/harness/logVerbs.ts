import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { TestDaemon } from './daemon.ts'
import { type Outcome, run, until } from './shell.ts'
import type { Verb } from './verbs.ts'

/** A log that passes the budget of all: the daemon dies at each step of making room. */

interface Usage {
  Berth: { Logs: { CountedBytes: number; BudgetBytes: number } }
}

const usage = async (daemon: TestDaemon): Promise<Usage['Berth']['Logs']> =>
  (await daemon.json<Usage>('GET', '/system/df')).Berth.Logs

const budget = 16 << 20

const setBudget = async (daemon: TestDaemon, text: string): Promise<Outcome> => {
  writeFileSync(path.join(daemon.base, 'daemon.json'), JSON.stringify({ 'log-budget': text }))
  const { code } = await run(['kill', '-HUP', String(daemon.pid)])
  return { code, stdout: '', stderr: '' }
}

const lastLine = (daemon: TestDaemon, name: string): Promise<string> =>
  daemon.mustDocker(['logs', '--tail', '1', name])

/** Its log is whole before the budget is passed: the steps do not depend on who is quicker. */
const fill = async (daemon: TestDaemon, options: string[]): Promise<void> => {
  await setBudget(daemon, '10g')
  await until('the budget was read', async () => (await usage(daemon)).BudgetBytes > budget)
  await daemon.mustDocker([
    ...['run', '-d', '--name', 'loud', ...options.flatMap(option => ['--log-opt', option])],
    ...['busybox', 'sh', '-c', 'seq 400000; sleep 1000'],
  ])
  await until('all was written', async () => (await lastLine(daemon, 'loud')) === '400000')
}

const isHeld = async (daemon: TestDaemon, name: string): Promise<void> => {
  assert.equal(await lastLine(daemon, name), '400000')
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
  prepare: daemon => fill(daemon, options),
  run: daemon => setBudget(daemon, '16m'),
  check: daemon => isHeld(daemon, 'loud'),
})

export const logVerbs: Verb[] = [
  logVerb('a log in many files', ['logs.removed'], ['max-size=2m', 'max-file=20']),
  logVerb('a log in one file', ['logs.rotated', 'logs.shortened', 'logs.replaced'], ['max-size=1g']),
]
