import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { run, until } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const docker = (...args: string[]): Promise<string> => daemon.mustDocker(args)

/** The real client under a terminal of its own; gives what the terminal showed. */
const onTerminal = async (args: string[], input = ''): Promise<{ code: number; shown: string }> => {
  const command = [daemon.client, ...args].map(word => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const { code, stdout } = await run(['script', '-qefc', command, '/dev/null'], {
    env: daemon.dockerEnv,
    input,
    deadline: 30_000,
  })
  return { code, shown: stdout.replaceAll('\r', '') }
}

test('stdin, stdout and stderr go their own ways', async () => {
  const both = await daemon.docker(['run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2'])
  assert.deepEqual([both.stdout, both.stderr], ['out\n', 'err\n'])
  const big = Buffer.alloc(5 * 1024 * 1024, 'x')
  const echoed = await daemon.docker(['run', '--rm', '-i', 'busybox', 'md5sum'], { input: big })
  const expected = await run(['md5sum'], { input: big })
  assert.equal(echoed.stdout, expected.stdout)
  const through = await daemon.docker(['run', '--rm', '-i', '--log-driver', 'none', 'busybox', 'cat'], {
    input: big,
  })
  assert.equal(through.stdout.length, big.length)
})

test('a terminal: size, echo, exit code', async () => {
  const { code, shown } = await onTerminal([
    'run',
    '--rm',
    '-it',
    'busybox',
    'sh',
    '-c',
    'tty; stty size; exit 3',
  ])
  assert.equal(code, 3)
  assert.match(shown, /\/dev\/pts\/0|\/dev\/console/)
  const exec = await onTerminal(
    ['run', '--rm', '-it', '--name', 'term', 'busybox', 'sh'],
    'echo $((20+22))\nexit 4\n',
  )
  assert.match(exec.shown, /^42$/m)
  assert.equal(exec.code, 4)
})

test('detach keys leave the container running', async () => {
  await docker('run', '-dit', '--name', 'shell', 'busybox', 'sh')
  const child = spawn('script', ['-qefc', `${daemon.client} attach shell`, '/dev/null'], {
    env: { ...process.env, ...daemon.dockerEnv },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let shown = ''
  child.stdout.on('data', chunk => {
    shown += chunk
  })
  const done = new Promise(resolve => child.once('close', resolve))
  // The client has made its terminal raw by the time the shell's answer to a line is seen.
  await until('the shell answers', () => {
    child.stdin.write('echo $((40+2))\n')
    return shown.includes('42')
  })
  child.stdin.write('\x10\x11')
  await done
  assert.match(shown, /read escape sequence/)
  assert.equal(await docker('inspect', '-f', '{{.State.Running}}', 'shell'), 'true')
  await docker('rm', '-f', 'shell')
})

test('attach shows what comes from now on, to several clients', async () => {
  await docker(
    'run',
    '-d',
    '--name',
    'talk',
    'busybox',
    'sh',
    '-c',
    'while [ ! -f /go ]; do sleep 0.05; done; echo said; exit 2',
  )
  const clients = [1, 2].map(() => {
    const child = spawn(daemon.client, ['attach', '--no-stdin', 'talk'], {
      env: { ...process.env, ...daemon.dockerEnv },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.on('data', chunk => {
      text += chunk
    })
    return new Promise<[number | null, string]>(resolve => child.once('close', code => resolve([code, text])))
  })
  await until(
    'both are attached',
    async () =>
      (
        await docker(
          'events',
          '--since',
          '1m',
          '--until',
          '0s',
          '--filter',
          'event=attach',
          '--filter',
          'container=talk',
        )
      ).split('\n').length >= 2,
  )
  await docker('exec', 'talk', 'touch', '/go')
  assert.deepEqual(await Promise.all(clients), [
    [2, 'said\n'],
    [2, 'said\n'],
  ])
})

test('logs: tail, since, until, timestamps, streams, details', async () => {
  await docker(
    'run',
    '--name',
    'diary',
    '--label',
    'a=1',
    '--log-opt',
    'labels=a',
    'busybox',
    'sh',
    '-c',
    'for i in 1 2 3; do echo line $i; done; echo bad >&2; sleep 1.1; echo late',
  )
  const all = (await daemon.docker(['logs', 'diary'])).stdout
  assert.equal(all, 'line 1\nline 2\nline 3\nlate\n')
  assert.equal((await daemon.docker(['logs', 'diary'])).stderr, 'bad\n')
  assert.equal((await daemon.docker(['logs', '--tail', '1', 'diary'])).stdout, 'late\n')
  const stamped = (await daemon.docker(['logs', '-t', 'diary'])).stdout.split('\n')
  assert.match(stamped[0] ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line 1$/)
  const late = (stamped[3] ?? '').split(' ')[0] ?? ''
  assert.equal((await daemon.docker(['logs', '--since', late, 'diary'])).stdout, 'late\n')
  assert.equal(
    (await daemon.docker(['logs', '--until', (stamped[2] ?? '').split(' ')[0] ?? '', 'diary'])).stdout,
    'line 1\nline 2\nline 3\n',
  )
  assert.equal((await daemon.docker(['logs', '--details', '--tail', '1', 'diary'])).stdout, 'a=1 late\n')
  assert.equal(
    (await daemon.docker(['logs', 'nobody'])).stderr.trim(),
    'Error response from daemon: No such container: nobody',
  )
})

test('logs -f goes on over rotation and restarts, and ends with the container', async () => {
  await docker(
    'create',
    '--name',
    'long',
    '--log-opt',
    'max-size=20k',
    '--log-opt',
    'max-file=10',
    'busybox',
    'sh',
    '-c',
    'i=0; while [ $i -lt 800 ]; do echo "$(hostname) line $i"; i=$((i+1)); done; sleep 0.5',
  )
  await docker('start', 'long')
  const child = spawn(daemon.client, ['logs', '-f', 'long'], {
    env: { ...process.env, ...daemon.dockerEnv },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', chunk => {
    text += chunk
  })
  const done = new Promise(resolve => child.once('close', resolve))
  await until('the first run was read', () => text.includes('line 799'))
  await docker('restart', '-t', '0', 'long')
  await done
  const numbers = text
    .trim()
    .split('\n')
    .map(line => Number(line.split(' ').at(-1)))
  const once = Array.from({ length: 800 }, (_, index) => index)
  assert.deepEqual(numbers, [...once, ...once])
})

test('exec: streams, user, directory, environment, detached, exit codes', async () => {
  await docker('run', '-d', '--name', 'home', 'busybox', 'sleep', '1000')
  const both = await daemon.docker(['exec', 'home', 'sh', '-c', 'echo out; echo err >&2; exit 6'])
  assert.deepEqual([both.code, both.stdout, both.stderr], [6, 'out\n', 'err\n'])
  assert.equal(
    await docker('exec', '-u', '1000', '-w', '/tmp', '-e', 'X=y', 'home', 'sh', '-c', 'id -u; pwd; echo $X'),
    '1000\n/tmp\ny',
  )
  assert.equal((await daemon.docker(['exec', '-i', 'home', 'cat'], { input: 'typed' })).stdout, 'typed')
  await docker('exec', '-d', 'home', 'touch', '/made')
  await until(
    'the detached exec ran',
    async () => (await daemon.docker(['exec', 'home', 'ls', '/made'])).code === 0,
  )
  const missing = await daemon.docker(['exec', 'home', 'nope'])
  assert.equal(missing.code, 127)
  assert.match(missing.stdout, /exec: "nope": executable file not found in \$PATH/)
  // What fails before there is a monitor comes as the client reads it, too.
  const stranger = await daemon.docker(['exec', '-u', 'stranger', 'home', 'true'])
  assert.equal(stranger.stdout, 'unable to find user stranger: no matching entries in passwd file\r\n')
  assert.equal(stranger.stderr, '')
  const { shown } = await onTerminal(['exec', '-it', 'home', 'sh', '-c', 'tty && echo yes'])
  assert.match(shown, /\/dev\/pts\/\d[\s\S]*yes/)
  assert.equal((await daemon.docker(['exec', 'nobody', 'true'])).code, 1)
})

test('a client that leaves in the midst of its log is no error', async () => {
  const { Id } = await daemon.json<{ Id: string }>('POST', '/containers/create', {
    ...{ Image: 'busybox', Cmd: ['seq', '1', '500000'] },
  })
  await daemon.mustDocker(['start', '-a', Id])
  const before = readdirSync(`/proc/${daemon.pid}/fd`).length
  for (let count = 0; count < 20; count++) {
    const socket = connect(daemon.socket)
    socket.write(`GET /containers/${Id}/logs?stdout=1 HTTP/1.1\r\nHost: d\r\n\r\n`)
    await once(socket, 'readable')
    socket.destroy()
  }
  await until('they are gone', () => readdirSync(`/proc/${daemon.pid}/fd`).length < before + 5)
  assert.doesNotMatch(daemon.log, /level=error/)
})
