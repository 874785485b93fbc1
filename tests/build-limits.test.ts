import assert from 'node:assert/strict'
import { globSync, rmdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { cgroupVersion } from '../src/linux/cgroups.ts'
import { makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { type Outcome, until } from './harness/shell.ts'

/** What steps of a build may have, as both kinds of clients say it. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const build = (isClassic: boolean, folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['build', ...(isClassic ? [] : ['--progress=plain']), ...options, folder], {
    env: { DOCKER_BUILDKIT: isClassic ? '0' : '1' },
  })

const mustBuild = async (isClassic: boolean, folder: string, ...options: string[]): Promise<string> => {
  const { code, stdout, stderr } = await build(isClassic, folder, ...options)
  assert.equal(code, 0, stderr)
  return stdout + stderr
}

const group = (v1: string, v2: string): string => `/sys/fs/cgroup/${cgroupVersion === 1 ? v1 : v2}`

let count = 0
/** One step, which no earlier build has done. */
const context = (script: string): string =>
  makeContext(daemon, ['FROM busybox', `RUN : ${count++}; ${script}`])

test('memory and processors of the classic builder reach the control group of each step', async () => {
  const files = [
    group('memory/memory.limit_in_bytes', 'memory.max'),
    group('cpuset/cpuset.cpus', 'cpuset.cpus'),
    ...(cgroupVersion === 1
      ? ['/sys/fs/cgroup/cpu/cpu.cfs_quota_us', '/sys/fs/cgroup/cpu/cpu.cfs_period_us']
      : ['/sys/fs/cgroup/cpu.max']),
  ]
  const folder = context(`echo "<$(echo $(cat ${files.join(' ')}))>"`)
  const limits = [
    ...['--memory', '64m', '--memory-swap', '-1', '--cpu-shares', '512'],
    ...['--cpu-period', '50000', '--cpu-quota', '25000', '--cpuset-cpus', '0'],
  ]
  assert.match(await mustBuild(true, folder, ...limits), /^<67108864 0 25000 50000>$/m)
  // They are part of no key.
  assert.match(await mustBuild(true, folder, '--memory', '128m'), /---> Using cache/)
  assert.match(await mustBuild(false, folder), /CACHED/)
})

test('a step that takes more than its memory ends, and says so', async () => {
  const folder = context('x=a; while true; do x=$x$x; done')
  const { code, stderr } = await build(true, folder, '--memory', '16m', '--memory-swap', '16m')
  assert.notEqual(code, 0)
  assert.match(stderr, /returned a non-zero code: 137|cannot allocate memory/)
})

for (const isClassic of [true, false])
  test(`files, shared memory and hosts, by ${isClassic ? 'the classic builder' : 'BuildKit'}`, async () => {
    const parts = [
      ...['$(ulimit -n)', '$(ulimit -Hn)', "$(df -k /dev/shm | awk 'END { print $2 }')"],
      '$(grep -c "192.0.2.7.*far" /etc/hosts)',
      '$(grep -c "^[0-9.]*.gate$" /etc/hosts)',
    ]
    const folder = context(`echo "<${parts.join(' ')}>"`)
    const options = ['--ulimit', 'nofile=300:400', '--shm-size', '16m', '--add-host', 'far:192.0.2.7']
    options.push('--add-host', 'gate:host-gateway')
    assert.match(await mustBuild(isClassic, folder, ...options), /<300 400 16384 1 1>/)
  })

test('a control group below one of the client’s choice, which goes with the step, or with the daemon', async () => {
  const name = `${daemon.name}-parent`
  const folders = (): string[] => globSync(`/sys/fs/cgroup/{${name},*/${name}}`)
  const steps = (): string[] => folders().flatMap(folder => globSync(`${folder}/*/`))
  await mustBuild(true, context('true'), '--cgroup-parent', `/${name}`)
  assert.ok(folders().length > 0)
  assert.deepEqual(steps(), [])
  const building = build(true, context('sleep 1000'), '--cgroup-parent', `/${name}`)
  await until('a step is in it', () => steps().length > 0)
  await daemon.restart()
  assert.notEqual((await building).code, 0)
  assert.deepEqual(steps(), [])
  for (const folder of folders()) rmdirSync(folder)
})

test('what cannot be is refused before anything runs', async () => {
  const refused = async (...options: string[]): Promise<string> =>
    (await build(true, context('true'), ...options)).stderr
  assert.match(await refused('--memory', '1m'), /Minimum memory limit allowed is 6MB/)
  assert.match(await refused('--cpuset-cpus', '4000'), /Requested CPUs are not available/)
  assert.match(await refused('--memory', '64m', '--memory-swap', '32m'), /larger than memory limit/)
  assert.match(await refused('--ulimit', 'nothing=1'), /invalid ulimit type: nothing/)
})
