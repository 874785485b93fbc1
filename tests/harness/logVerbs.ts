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

const folderOf = async (daemon: TestDaemon, name: string): Promise<string> =>
  path.join(daemon.dataRoot, 'containers', await daemon.mustDocker(['inspect', '-f', '{{.Id}}', name]))

/** No rotated file is uncompressed or in both forms, and nothing is left of the work. */
const allCompressed = async (folder: string): Promise<void> => {
  await until('all is compressed', () => {
    const names = readdirSync(folder).filter(name => /-json\.log\./.test(name))
    return !names.some(name => /\.log\.(\d+|compressing|trim)$/.test(name))
  })
}

/** Every line is there once, and each rotated file in one form. */
const isCompressed = async (daemon: TestDaemon): Promise<void> => {
  const folder = await folderOf(daemon, 'loud')
  await until('all was written', async () => (await lastLine(daemon, 'loud')) === '400000')
  await allCompressed(folder)
  assert.ok(readdirSync(folder).some(name => name.endsWith('.gz')))
  const lines = (await daemon.mustDocker(['logs', 'loud'])).split('\n')
  assert.deepEqual([lines.length, lines[0], lines.at(-1)], [400_000, '1', '400000'])
  await daemon.mustDocker(['rm', '-f', 'loud'])
  assert.equal((await usage(daemon)).CountedBytes, 0)
}

/** One compressed file of more than the budget, and little after it. */
const fillCompressed = async (daemon: TestDaemon): Promise<void> => {
  await setBudget(daemon, '10g')
  await until('the budget was read', async () => (await usage(daemon)).BudgetBytes > budget)
  await daemon.mustDocker([
    ...[
      'run',
      '-d',
      '--name',
      'loud',
      '--log-driver=local',
      '--log-opt',
      'max-size=46m',
      'busybox',
      'sh',
      '-c',
    ],
    'head -c 18000000 /dev/urandom | base64; echo; echo 400000; sleep 1000',
  ])
  await until('all was written', async () => (await lastLine(daemon, 'loud')) === '400000')
  await allCompressed(await folderOf(daemon, 'loud'))
  await until('it is counted', async () => (await usage(daemon)).CountedBytes < 30 << 20)
  assert.ok((await usage(daemon)).CountedBytes > budget)
}

/** Shortened in place: what is left follows a line that says so. */
const isShortened = async (daemon: TestDaemon): Promise<void> => {
  await until('the budget holds', async () => (await usage(daemon)).CountedBytes <= budget)
  assert.equal(await lastLine(daemon, 'loud'), '400000')
  const { stdout, stderr } = await daemon.docker(['logs', 'loud'])
  assert.match(stderr, /^\[berth\] \d+ bytes of older output dropped: all logs together/)
  assert.ok(stdout.length > 4 << 20)
  const names = readdirSync(await folderOf(daemon, 'loud'))
  assert.ok(!names.some(name => name.endsWith('.trim')))
  await daemon.mustDocker(['rm', '-f', 'loud'])
  assert.equal((await usage(daemon)).CountedBytes, 0)
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
  {
    name: 'a log that is compressed',
    points: ['logs.compress.written', 'logs.compress.named'],
    run: daemon =>
      daemon.docker([
        ...['run', '-d', '--name', 'loud', '--log-driver=local', '--log-opt', 'max-size=4m'],
        ...['--log-opt', 'max-file=20', 'busybox', 'sh', '-c', 'seq 400000; sleep 1000'],
      ]),
    check: isCompressed,
  },
  {
    name: 'a compressed log in one file',
    points: ['logs.shortened', 'logs.replaced'],
    prepare: fillCompressed,
    run: daemon => setBudget(daemon, '16m'),
    check: isShortened,
  },
  logVerb('a log in many files', ['logs.removed'], ['max-size=2m', 'max-file=20']),
  logVerb('a log in one file', ['logs.rotated', 'logs.shortened', 'logs.replaced'], ['max-size=1g']),
]
