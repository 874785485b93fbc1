import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { cgroupSupport } from '../src/linux/cgroupSupport.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

/** What a process in a container may do and sees of the daemon, at its start and in an exec. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const run = (options: string[], script: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', ...options, 'busybox', 'sh', '-c', script])

const started = async (name: string, ...options: string[]): Promise<void> => {
  await daemon.mustDocker(['run', '-d', '--name', name, ...options, 'busybox', 'sleep', '1000'])
}

const exec = (name: string, options: string[], script: string): Promise<string> =>
  daemon.mustDocker(['exec', ...options, name, 'sh', '-c', script])

/** Fields of /proc/self/status, a line each. */
const status = (fields: string): string => `grep -E '^(${fields}):' /proc/self/status | tr -s '\\t ' ' '`

test('a user who is not root has no capabilities, only their bound', async () => {
  const none = 'CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000'
  const sets = status('CapInh|CapPrm|CapEff|CapBnd|CapAmb')
  const bound = 'CapBnd: 00000000a80425fb\nCapAmb: 0000000000000000'
  assert.equal(await run(['-u', '1234'], sets), `${none}\n${bound}`)
  await started('bounded')
  assert.equal(await exec('bounded', ['-u', '1234'], sets), `${none}\n${bound}`)
  assert.match(await exec('bounded', [], sets), /CapEff: 00000000a80425fb/)
  const whole = /CapBnd: (\w+)/.exec(await run(['--privileged'], status('CapBnd')))?.[1]
  assert.match(
    await exec('bounded', ['--privileged'], sets),
    new RegExp(`CapEff: ${whole}\nCapBnd: ${whole}`),
  )
})

test('an exec has the seccomp filter and no-new-privileges of its container', async () => {
  await started('guarded', '--security-opt', 'no-new-privileges')
  assert.equal(await exec('guarded', [], status('NoNewPrivs|Seccomp')), 'NoNewPrivs: 1\nSeccomp: 2')
  await started('open', '--security-opt', 'seccomp=unconfined')
  assert.equal(await exec('open', [], status('NoNewPrivs|Seccomp')), 'NoNewPrivs: 0\nSeccomp: 0')
})

test('a user whom the container has made root since its start gets nothing by it without being asked for', async () => {
  await started('renamed', '--user', 'nobody')
  await exec('renamed', ['-u', '0'], 'echo nobody:x:0:0::/: >/etc/passwd')
  const seen = `id -u; ${status('CapEff')}`
  assert.equal(await exec('renamed', [], seen), '65534\nCapEff: 0000000000000000')
  assert.equal(await exec('renamed', ['-u', 'nobody'], seen), '0\nCapEff: 00000000a80425fb')
})

test('groups that are added stay in an exec by another user', async () => {
  await started('grouped', '--group-add', '4321', '--group-add', 'nobody')
  assert.equal(await exec('grouped', [], 'id -G'), '0 4321 65534')
  assert.equal(await exec('grouped', ['-u', '1234:29'], 'id -u; id -G'), '1234\n29 4321 65534')
})

test('no descriptor and no variable of the daemon gets into a container', async () => {
  // The fourth is that of the folder that ls reads.
  const open = 'ls /proc/self/fd'
  assert.equal(await run([], open), '0\n1\n2\n3')
  await started('plain', '-e', 'A=b')
  assert.equal(await exec('plain', [], open), '0\n1\n2\n3')
  const names = "tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort"
  assert.equal(await exec('plain', [], names), 'A\nHOME\nHOSTNAME\nPATH')
  // The shell adds its own to these.
  const own = 'env | cut -d= -f1 | sort'
  assert.match(await exec('plain', ['-e', 'C=d'], own), /^A\nC\nHOME\nHOSTNAME\nPATH(\nPWD)?(\nSHLVL)?$/)
})

test('a working directory is put in its shortest form', async () => {
  const id = await daemon.mustDocker(['create', '-w', '/a/./b//../c/', 'busybox', 'sh', '-c', 'pwd'])
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.Config.WorkingDir}}', id]), '/a/c')
  assert.equal(await daemon.mustDocker(['start', '-a', id]), '/a/c')
})

test('a seccomp profile that says nothing is no filter, and one that cannot be is refused', async () => {
  const create = async (seccomp: string): Promise<{ status: number; text: string }> =>
    daemon.api('POST', '/containers/create', {
      Image: 'busybox',
      Cmd: ['sh', '-c', status('Seccomp')],
      HostConfig: { SecurityOpt: [`seccomp=${seccomp}`] },
    })
  const { Id: id } = JSON.parse((await create('{}')).text) as { Id: string }
  assert.equal(await daemon.mustDocker(['start', '-a', id]), 'Seccomp: 0')
  const { Id: usual } = JSON.parse((await create('')).text) as { Id: string }
  assert.equal(await daemon.mustDocker(['start', '-a', usual]), 'Seccomp: 2')
  const bad = await create('{')
  assert.equal(bad.status, 400)
  assert.match(bad.text, /Decoding seccomp profile failed/)
})

test('a terminal of an exec has the size it was made with, from 1.42 on', async () => {
  await started('sized')
  const size = async (version: string): Promise<string> => {
    const path = `/v${version}/containers/sized/exec`
    const { Id: id } = await daemon.json<{ Id: string }>('POST', path, {
      // crun sets the size beside the process, which may look before that.
      ...{ Cmd: ['sh', '-c', 'until [ -e /look ]; do sleep 0.02; done; stty size > /size'] },
      ...{ Tty: true, ConsoleSize: [21, 77] },
    })
    await daemon.api('POST', `/v${version}/exec/${id}/start`, { Detach: true, Tty: true })
    await exec('sized', [], 'touch /look')
    for (;;) {
      const { Running: running } = await daemon.json<{ Running: boolean }>('GET', `/exec/${id}/json`)
      if (!running) return exec('sized', [], 'cat /size')
      await setTimeout(20)
    }
  }
  assert.equal(await size('1.42'), '21 77')
  assert.notEqual(await size('1.41'), '21 77')
})

test('real-time scheduling comes from the groups above, or is refused by a host that has none', async () => {
  const strict = await startDaemon({ flags: ['--cpu-rt-runtime', '5000'] })
  try {
    await strict.loadBusybox()
    const { code, stdout, stderr } = await strict.docker([
      ...['run', '--rm', '--cpu-rt-runtime', '1000', 'busybox'],
      ...['cat', '/sys/fs/cgroup/cpu/cpu.rt_runtime_us'],
    ])
    if (cgroupSupport().cpuRealtime) assert.deepEqual([code, stdout], [0, '1000\n'])
    else {
      assert.equal(code, 125)
      assert.match(stderr, /kernel does not support CPU real-time scheduler/)
      const plain = await strict.docker(['run', '--rm', 'busybox', 'true'])
      assert.match(plain.stderr, /unable to init CPU RT controller: this host's kernel does not schedule/)
    }
  } finally {
    await strict.close()
  }
})
