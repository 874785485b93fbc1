import assert from 'node:assert/strict'
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, TestDaemon } from './harness/daemon.ts'
import { projectRoot } from './harness/images.ts'
import { remappedUsers, remapping } from './harness/remappedUsers.ts'
import { must, patience, until } from './harness/shell.ts'
import { inspected, remappingGroups, type Verb, verbGroups } from './harness/verbs.ts'

/**
 * The daemon is killed at each named fail point of each verb, started again,
 * and audited: nothing orphaned, nothing lost, what a client was told is true,
 * and the verb works when it is tried again.
 */

/** Points that a daemon passes while it starts: it dies there, and the next one carries on. */
const atStart = [
  ...[
    'net.bridge.firewall',
    'net.detour.unruled',
    'net.reconcile.firewall',
    'restore.found',
    'restore.network',
    'restore.ended',
  ],
  ...['restore.tidied', 'sweep.groups', 'sweep.runs', 'sweep.uppers'],
  ...['exit.saved', 'exit.cleared', 'exit.released'],
]
/** Points of a host's very first start, and the daemon's options. */
const atFirstStart: Record<string, string[]> = {
  'net.bridge.link': [],
  'net.bridge.up': [],
  'net.detour.link': ['--firewall-mode=host'],
  'net.detour.route': ['--firewall-mode=host'],
  'net.detour.rules': ['--firewall-mode=host'],
}

const armFile = (daemon: TestDaemon): string => path.join(daemon.base, 'failpoints')

/** A running daemon reads at each fail point what it is armed with. */
const startArmable = (daemon: TestDaemon): Promise<void> =>
  daemon.start({ env: { BERTH_FAILPOINTS: `@${armFile(daemon)}` } })

const removeAll = async (daemon: TestDaemon): Promise<void> => {
  const ids = (await daemon.mustDocker(['ps', '-aq'])).split('\n').filter(Boolean)
  if (ids.length) await daemon.mustDocker(['rm', '-f', '-v', ...ids])
}

const dieAt = async (daemon: TestDaemon, verb: Verb, point: string): Promise<void> => {
  await removeAll(daemon)
  await verb.prepare?.(daemon)
  writeFileSync(armFile(daemon), `${point}=kill`)
  const dead = daemon.exited()
  const ending = verb.run(daemon)
  try {
    await diesSoon(dead, `${verb.name} at ${point}`)
  } finally {
    rmSync(armFile(daemon))
    if (!daemon.alive) await startArmable(daemon)
  }
  const outcome = await ending
  await audit(daemon, `${verb.name} at ${point}`)
  await verb.check(daemon, { told: outcome.code === 0, point, outcome })
}

const diesSoon = async (dead: Promise<void>, what: string): Promise<void> => {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new Error(`${what}: the fail point was never passed`)),
    20_000 * patience,
  )
  try {
    await Promise.race([dead, promise])
  } finally {
    clearTimeout(timer)
  }
}

/** One runs on, one ended while no daemon was there, one is to be restarted, one was half-started. */
const leaveThings = async (daemon: TestDaemon): Promise<void> => {
  await removeAll(daemon)
  await daemon.mustDocker(['run', '-d', '--name', 'on', '-p', '8080:80', 'busybox', 'sleep', '1000'])
  for (const [name, ...options] of [['over'], ['back', '--restart', 'on-failure'], ['auto', '--rm']])
    await daemon.mustDocker([
      'run',
      '-d',
      '--name',
      name ?? '',
      ...options,
      'busybox',
      'sh',
      '-c',
      'test -e /done && exec sleep 1000; touch /done; sleep 1; exit 3',
    ])
  await daemon.kill()
  await must(['sleep', '1.2'])
}

const dieWhileStarting = async (daemon: TestDaemon, point: string): Promise<void> => {
  await leaveThings(daemon)
  await daemon.start({ env: { BERTH_FAILPOINTS: `${point}=kill` }, wait: false })
  await diesSoon(daemon.exited(), `a start at ${point}`)
  await daemon.start()
  await audit(daemon, `a start at ${point}`)
  assert.equal((await inspected(daemon, 'on'))?.State.Status, 'running')
  assert.equal((await inspected(daemon, 'over'))?.State.ExitCode, 3)
  assert.equal(await inspected(daemon, 'auto'), undefined)
  await until('it runs again', async () => (await inspected(daemon, 'back'))?.State.Status === 'running')
}

/** A daemon of the group's own, with an image, proven clean at the end. */
const withDaemon = async (what: string, use: (daemon: TestDaemon) => Promise<void>): Promise<void> => {
  using users = remappedUsers()
  const daemon = await startDaemon(remappingGroups.has(what) ? remapping(users) : {})
  try {
    await daemon.loadBusybox()
    await use(daemon)
    await audit(daemon, what)
  } finally {
    await daemon.close()
  }
}

describe('the daemon dies at each step', { concurrency: 2 }, () => {
  for (const [group, verbs] of verbGroups)
    test(group, context =>
      withDaemon(group, async daemon => {
        await daemon.kill()
        await startArmable(daemon)
        for (const verb of verbs)
          for (const point of verb.points)
            await context.test(`${verb.name} at ${point}`, () => dieAt(daemon, verb, point))
      }),
    )

  test('its own start', context =>
    withDaemon('its own start', async daemon => {
      for (const point of atStart)
        await context.test(`a start at ${point}`, () => dieWhileStarting(daemon, point))
    }))

  for (const [point, flags] of Object.entries(atFirstStart))
    test(`the first start at ${point}`, async () => {
      const daemon = new TestDaemon({ flags })
      await daemon.prepare()
      try {
        await daemon.start({ env: { BERTH_FAILPOINTS: `${point}=kill` }, wait: false })
        await diesSoon(daemon.exited(), `the first start at ${point}`)
        await daemon.start()
        await audit(daemon, `the first start at ${point}`)
      } finally {
        await daemon.close()
      }
    })
})

test('every fail point of the source is in these tests', () => {
  const files = globSync('src/{build,engine,daemon,net,store}/**/*.ts', { cwd: projectRoot })
  const names = files.flatMap(file =>
    [...readFileSync(path.join(projectRoot, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)].map(
      match => match[1] ?? '',
    ),
  )
  const tested = new Set([
    ...verbGroups.flatMap(([, verbs]) => verbs.flatMap(verb => verb.points)),
    ...atStart,
    ...Object.keys(atFirstStart),
    ...['import.layer', 'view.mounted'],
    // Of a sync: a test of its own kills there.
    ...['context.file', 'context.place', 'context.remove', 'context.index'],
  ])
  assert.deepEqual(
    names.filter(name => !tested.has(name)),
    [],
  )
})
