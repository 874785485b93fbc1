import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { cgroupVersion } from '../src/linux/cgroups.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import type { Outcome } from './harness/shell.ts'

/** One scenario on each runtime: what a user sees must not tell them apart. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

type Docker = (...args: string[]) => Promise<Outcome>

/** `docker run` by one runtime. */
const runner =
  (runtime: string): Docker =>
  (...args) =>
    daemon.docker(['run', '--runtime', runtime, ...args])

/** What may differ from run to run, whatever the runtime: ids, times, names of ours. */
const settled = (text: string, runtime: string): string =>
  text
    .replace(/\b[0-9a-f]{64}\b/g, 'ID')
    .replaceAll(runtime, 'RUNTIME')
    .replace(/^\d+ +sleep/m, 'N sleep')
    // runc says it from 1.1.6 on.
    .replace('is a directory: permission denied', 'permission denied')
    .replace(/time="[^"]*" level=\S+ msg=.*\n/g, '')
    .trim()

const seen = ({ code, stdout, stderr }: Outcome, runtime: string): string =>
  `${code}|${settled(stdout, runtime)}|${settled(stderr, runtime)}`

/** Steps by name; each gives what was seen. */
type Scenario = (runtime: string, run: Docker) => Promise<Outcome>

const docker = (...args: string[]): Promise<Outcome> => daemon.docker(args)

const scenarios: Record<string, Scenario> = {
  'exit code': (_, run) => run('--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 7'),
  'killed by a signal': (_, run) => run('--rm', 'busybox', 'sh', '-c', 'kill -TERM $$'),
  'no such program: 127': (_, run) => run('--rm', 'busybox', 'absent'),
  'no such program by path: 127': (_, run) => run('--rm', 'busybox', '/absent/program'),
  'not executable: 126': (_, run) => run('--rm', 'busybox', '/etc/passwd'),
  'a directory: 126': (_, run) => run('--rm', 'busybox', '/etc'),
  'bad option: 125': (_, run) => run('--rm', '--memory', '1k', 'busybox', 'true'),
  'a user that is not there: 125': (_, run) => run('--rm', '-u', 'ghost', 'busybox', 'true'),
  'a sysctl of a shared namespace: 125': async (_, run) => {
    const { code } = await run(
      '--rm',
      '--network',
      'host',
      '--sysctl',
      'net.ipv4.ip_forward=0',
      'busybox',
      'true',
    )
    return { code, stdout: '', stderr: '' }
  },
  'a terminal': (_, run) =>
    run('--rm', '-t', 'busybox', 'sh', '-c', 'test -t 0 && test -t 1 && echo tty; stty size'),
  'standard input': runtime =>
    daemon.docker(['run', '--runtime', runtime, '--rm', '-i', 'busybox', 'cat'], { input: 'typed' }),
  user: (_, run) =>
    run('--rm', '-u', '1234:29', '--group-add', '44', 'busybox', 'sh', '-c', 'id -u; id -g; id -G'),
  capabilities: (_, run) =>
    run('--rm', '--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', 'busybox', 'grep', 'Cap', '/proc/self/status'),
  'capabilities of a user': (_, run) => run('--rm', '-u', '5', 'busybox', 'grep', 'Cap', '/proc/self/status'),
  'privileged capabilities': (_, run) =>
    run('--rm', '--privileged', 'busybox', 'grep', 'Cap', '/proc/self/status'),
  seccomp: (_, run) =>
    run('--rm', 'busybox', 'sh', '-c', 'grep -E "^(Seccomp|NoNewPrivs):" /proc/self/status; unshare -m true'),
  'no new privileges': (_, run) =>
    run('--rm', '--security-opt', 'no-new-privileges', 'busybox', 'grep', 'NoNewPrivs', '/proc/self/status'),
  'hidden paths': (_, run) =>
    run('--rm', 'busybox', 'sh', '-c', 'wc -c < /proc/kcore; touch /proc/sysrq-trigger; ls /sys/firmware'),
  'mounts of the kernel': (_, run) =>
    run(
      ...['--rm', 'busybox', 'sh', '-c'],
      "awk '{print $2, $3}' /proc/mounts | grep -E '^/(proc|sys|dev)(/[a-z]+)? ' | grep -v /proc/ | sort",
    ),
  limits: (_, run) =>
    run(
      ...[
        '--rm',
        '-m',
        '64m',
        '--cpus',
        '0.5',
        '--pids-limit',
        '50',
        '--ulimit',
        'nofile=100:200',
        'busybox',
      ],
      ...['sh', '-c', 'ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj'],
    ),
  'out of memory': async (runtime, run) => {
    const name = `oom-${runtime}`
    const ended = await run(
      ...['--name', name, '-m', '16m', '--memory-swap', '16m', 'busybox'],
      ...['sh', '-c', 'x=a; while true; do x=$x$x; done'],
    )
    assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.State.OOMKilled}}', name]), 'true')
    return ended
  },
  'init reaps': (_, run) => run('--rm', '--init', 'busybox', 'sh', '-c', 'cat /proc/1/comm; exit 3'),
  'detach, exec, top, update, pause, kill': async (runtime, run) => {
    const name = `long-${runtime}`
    const steps: Outcome[] = [await run('-d', '--name', name, '-m', '64m', 'busybox', 'sleep', '1000')]
    const step = async (...args: string[]): Promise<void> => {
      steps.push(await docker(...args))
    }
    await step('exec', name, 'sh', '-c', 'echo in; exit 9')
    await step('exec', name, 'absent')
    await step('exec', '-u', '7', '-w', '/tmp', '-e', 'A=b', name, 'sh', '-c', 'id -u; pwd; echo $A')
    await step('exec', '-t', name, 'sh', '-c', 'test -t 1 && echo tty')
    await step('exec', '--privileged', name, 'grep', 'CapEff', '/proc/self/status')
    await step('top', name, '-o', 'pid,args')
    await step(
      'update',
      '-m',
      '32m',
      '--memory-swap',
      '64m',
      '--pids-limit',
      '77',
      '--cpu-shares',
      '300',
      name,
    )
    const [memory, pids] =
      cgroupVersion === 1 ? ['memory/memory.limit_in_bytes', 'pids/pids.max'] : ['memory.max', 'pids.max']
    await step('exec', name, 'cat', `/sys/fs/cgroup/${memory}`, `/sys/fs/cgroup/${pids}`)
    await step('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', name)
    await step('pause', name)
    await step('inspect', '-f', '{{.State.Status}}', name)
    await step('exec', name, 'true')
    await step('unpause', name)
    await step('kill', '-s', 'KILL', name)
    await step('wait', name)
    await step('start', name)
    await step('stop', '-t', '0', name)
    await step('inspect', '-f', '{{.State.ExitCode}} {{.State.Status}}', name)
    await step('rm', name)
    return {
      code: 0,
      stdout: steps.map(outcome => seen(outcome, runtime)).join('\n'),
      stderr: '',
    }
  },
}

for (const [name, scenario] of Object.entries(scenarios))
  test(`crun and runc show the same: ${name}`, async () => {
    const [crun = '', runc = ''] = await Promise.all(
      ['crun', 'runc'].map(async runtime => seen(await scenario(runtime, runner(runtime)), runtime)),
    )
    assert.equal(crun, runc)
    const wanted = /: (\d+)$/.exec(name)?.[1]
    if (wanted) assert.match(crun, new RegExp(`^${wanted}\\|`))
    if (name.startsWith('detach')) assert.match(crun, /0\|33554432\n77\|/)
  })
