import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { run, until } from './harness/shell.ts'

/** Socket activation and notices, by a stand-in for systemd: the host of these tests need not have it. */

const folder = mkdtempSync('/tmp/berth-systemd-')
const activated = path.join(folder, 'activated.sock')
const notices = path.join(folder, 'notices')

/** Makes a listening socket, and becomes the daemon that inherits it. */
const activator = `
import os, socket, sys
path = '${activated}'
if os.path.exists(path): os.unlink(path)
s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(64)
if s.fileno() != 3: os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='berth.socket')
os.execvp(sys.argv[1], sys.argv[1:])
`

const listener = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('${folder}/notify')
print('bound', flush=True)
out = open('${notices}', 'a', buffering=1)
while True: out.write(s.recv(4096).decode() + '\\n')
`

let systemd: ChildProcess
let daemon: TestDaemon

before(async () => {
  systemd = spawn('python3', ['-c', listener], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise(resolve => systemd.stdout?.once('data', resolve))
  daemon = await startDaemon({
    within: ['python3', '-c', activator],
    flags: ['-H', 'fd://'],
    env: { NOTIFY_SOCKET: path.join(folder, 'notify'), WATCHDOG_USEC: '400000' },
  })
  await daemon.loadBusybox()
})
after(async () => {
  systemd.kill('SIGKILL')
  await daemon?.close()
  rmSync(folder, { recursive: true, force: true })
})

const told = (): string[] => readFileSync(notices, 'utf8').split('\n')

const byActivated = (args: string[]) => daemon.docker(args, { env: { DOCKER_HOST: `unix://${activated}` } })

test('the daemon answers at the socket that systemd made, beside its own', async () => {
  const { code, stdout, stderr } = await byActivated(['run', '--rm', 'busybox', 'echo', 'hello'])
  assert.deepEqual([code, stdout], [0, 'hello\n'], stderr)
  assert.match(daemon.log, /API listen on fd:\/\//)
})

test('no process that the daemon starts inherits the socket or the environment of systemd', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'long', 'busybox', 'sleep', '1000'])
  const env = await daemon.mustDocker(['exec', 'long', 'cat', '/proc/1/environ'])
  assert.doesNotMatch(env, /LISTEN_|NOTIFY_SOCKET|WATCHDOG/)
  // The kernel's own number of a listening socket, by its path.
  const number = readFileSync(`/proc/${daemon.pid}/net/unix`, 'utf8')
    .split('\n')
    .find(line => line.endsWith(activated))
    ?.split(/\s+/)[6]
  assert.ok(number)
  const { stdout } = await run([
    'sh',
    '-c',
    `ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c 'socket:\\[${number}\\]'`,
  ])
  assert.equal(stdout.trim(), '1', 'only the daemon has it')
})

test('systemd is told of the start, of what runs, and that the daemon lives', async () => {
  await until('the sign of life', () => told().filter(line => line === 'WATCHDOG=1').length > 2)
  assert.equal(told()[0], 'READY=1')
  assert.equal(told()[1], `MAINPID=${daemon.pid}`)
  await until('the state of one', () => told().includes('STATUS=1 of 1 containers running'))
  await daemon.mustDocker(['rm', '-f', 'long'])
  await until(
    'the state of none',
    () => told().at(-2) !== '' && told().includes('STATUS=0 of 0 containers running'),
  )
})

test('a reload is announced, with the time, and its end', async () => {
  process.kill(daemon.pid, 'SIGHUP')
  await until('its end', () => {
    const lines = told()
    const at = lines.indexOf('RELOADING=1')
    return at >= 0 && /^MONOTONIC_USEC=\d+$/.test(lines[at + 1] ?? '') && lines.indexOf('READY=1', at) > at
  })
})

test('policies name such a socket by its path, and by no other', async () => {
  const configure = (...sockets: string[]): void =>
    writeFileSync(
      path.join(daemon.base, 'daemon.json'),
      JSON.stringify({ 'access-policies': [{ name: 'by path', who: { sockets }, allow: ['read'] }] }),
    )
  const isHeld = async (): Promise<boolean> => {
    const { code, stderr } = await byActivated(['volume', 'create', 'made'])
    return code !== 0 && stderr.includes('access denied: the policy "by path"')
  }
  configure(activated)
  process.kill(daemon.pid, 'SIGHUP')
  await until('who comes by it is held', isHeld)
  await daemon.mustDocker(['volume', 'create', 'made'])
  configure(path.join(folder, 'other.sock'))
  process.kill(daemon.pid, 'SIGHUP')
  await until('the refusal', () =>
    /by path: the daemon does not listen on the unix socket .*other\.sock.*activated\.sock/.test(daemon.log),
  )
  assert.ok(await isHeld(), 'the old ones go on')
  await daemon.kill()
  await daemon.start({ wait: false })
  await daemon.exited()
  assert.match(daemon.log.slice(daemon.log.lastIndexOf('berthd:')), /does not listen on the unix socket/)
  configure(activated)
  await daemon.start()
  assert.ok(await isHeld())
  await daemon.mustDocker(['volume', 'rm', 'made'])
})

test('without sockets of systemd fd:// is an error that says so', async () => {
  const { code, stderr } = await daemon.onHost([
    ...['bin/berthd', '--data-root', path.join(folder, 'd'), '--exec-root', path.join(folder, 'e')],
    ...['--pidfile', path.join(folder, 'p'), '-H', 'fd://'],
  ])
  assert.equal(code, 1)
  assert.match(stderr, /no sockets found via socket activation/)
})
