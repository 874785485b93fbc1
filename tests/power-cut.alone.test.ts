import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { audit } from './harness/audit.ts'
import { TestDaemon } from './harness/daemon.ts'
import { dockerArchive, file } from './harness/images.ts'
import { LoopFilesystem } from './harness/powerCut.ts'
import { until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/**
 * The power fails: everything in the kernel is gone, and of the data root only
 * what had reached the disk is there. What a client was told is done is done.
 */
const cuts = Number(process.env['BERTH_TEST_CUTS'] ?? 20)

const status = async (daemon: TestDaemon, name: string): Promise<string | undefined> =>
  (await inspected(daemon, name))?.State.Status

/** What one round tells its clients, and checks after the cut. */
const round = async (daemon: TestDaemon, number: number, powerCut: () => Promise<void>): Promise<void> => {
  const name = (what: string): string => `${what}${number}`
  const archive = path.join(daemon.base, 'round.tar')
  const tag = `round:${number}`
  const layer = [file('number', String(number))]
  writeFileSync(archive, await dockerArchive([{ tags: [tag], layers: [layer] }]))
  const sleeper = ['busybox', 'sleep', '1000']
  await daemon.mustDocker(['create', '--name', name('removed'), '-v', '/data', ...sleeper])
  await daemon.mustDocker(['run', '-d', '--name', name('ran'), ...sleeper])
  await daemon.mustDocker(['run', '-d', '--name', name('stopped'), '--restart', 'unless-stopped', ...sleeper])
  await daemon.mustDocker([
    'run',
    '-d',
    '--name',
    name('always'),
    '--restart',
    'always',
    '-p',
    '8080:80',
    ...sleeper,
  ])
  const last = [
    () => daemon.mustDocker(['stop', '-t', '0', name('stopped')]),
    () => daemon.mustDocker(['rm', '-v', name('removed')]),
    async () => {
      await daemon.mustDocker(['load', '-q', '-i', archive])
      await daemon.mustDocker(['create', '--name', name('fresh'), tag, '/none'])
    },
    () => daemon.mustDocker(['tag', 'busybox', `tagged:${number}`]),
    () => daemon.mustDocker(['create', '--name', name('created'), '-v', '/data', ...sleeper]),
  ]
  // Each has its turn to be the last thing before the cut.
  for (let index = 0; index < last.length; index++) await last[(index + number) % last.length]?.()
  await powerCut()
  await audit(daemon, `cut ${number}`)
  assert.equal(await status(daemon, name('removed')), undefined)
  assert.equal(await status(daemon, name('created')), 'created')
  const ran = (await inspected(daemon, name('ran')))?.State
  assert.deepEqual([ran?.Status, ran?.ExitCode], ['exited', 255])
  assert.equal(await status(daemon, name('stopped')), 'exited')
  await until('always runs', async () => (await status(daemon, name('always'))) === 'running')
  const fresh = path.join(daemon.base, 'fresh')
  await daemon.mustDocker(['cp', `${name('fresh')}:/number`, fresh])
  assert.equal(readFileSync(fresh, 'utf8'), String(number))
  await daemon.mustDocker(['rm', name('fresh')])
  await daemon.mustDocker(['start', name('created')])
  assert.equal(await daemon.mustDocker(['exec', name('created'), 'echo', 'alive']), 'alive')
  await daemon.mustDocker(['rmi', tag, `tagged:${number}`])
  for (const what of ['ran', 'stopped', 'always', 'created'])
    await daemon.mustDocker(['rm', '-f', '-v', name(what)])
}

test(`${cuts} power cuts lose nothing that a client was told`, async () => {
  const daemon = new TestDaemon({})
  await daemon.prepare()
  const disk = new LoopFilesystem(path.join(daemon.base, 'disk'), daemon.dataRoot)
  let boot = 0
  const start = (): Promise<void> => daemon.start({ env: { BERTH_TEST_BOOT_ID: `boot ${boot++}` } })
  const powerCut = async (): Promise<void> => {
    disk.cut()
    await daemon.loseKernelObjects()
    await until('the disk can be unmounted', () =>
      disk.unmount().then(
        () => true,
        () => false,
      ),
    )
    await disk.mount()
    await start()
  }
  try {
    await disk.make(256)
    await disk.mount()
    await start()
    await daemon.loadBusybox()
    for (let number = 1; number <= cuts; number++) await round(daemon, number, powerCut)
  } finally {
    await daemon.close()
  }
})
