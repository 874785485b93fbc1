import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until as eventually, must } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/**
 * CRIU runs on few kernels. A runtime that stands in for one with CRIU shows
 * what is asked of it and what comes of it: it writes an image of one file,
 * kills as CRIU does, and restores by a new run on the same pipes.
 */
const folder = mkdtempSync('/tmp/berth-checkpoints-')
const calls = path.join(folder, 'calls')
const failing = path.join(folder, 'failing')

const script = (real: string): string => `#!/bin/sh
root= image= work= verb= leave= skip= id=
previous=
for word in "$@"; do
  case "$previous" in
    --root) root=$word ;;
    --image-path) image=$word ;;
    --work-path) work=$word ;;
  esac
  case "$word" in
    checkpoint | restore) verb=$word ;;
    --leave-running) leave=1 ;;
  esac
  previous=$word
  id=$word
done
[ -n "$verb" ] || exec ${real} "$@"
echo "$@" >>${calls}
if [ -e ${failing} ]; then
  echo '(00.0) Error (criu/sk-inet.c:1): inet: Connected TCP socket' >"$work/$([ $verb = checkpoint ] && echo dump || echo restore).log"
  echo "criu failed: type NOTIFY errno 0" >&2
  exit 1
fi
if [ $verb = checkpoint ]; then
  echo image >"$image/inventory.img"
  [ -n "$leave" ] || kill -9 $(${real} --root "$root" state "$id" | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p')
  exit 0
fi
[ "$(cat "$image/inventory.img")" = image ] || exit 1
for word in "$@"; do
  shift
  [ -z "$skip" ] || { skip=; continue; }
  case "$word" in
    --image-path | --work-path) skip=1; continue ;;
    restore) word=run ;;
  esac
  set -- "$@" "$word"
done
exec ${real} "$@"
`

let daemon: TestDaemon
before(async () => {
  const real = await must(['sh', '-c', 'command -v runc'])
  const runtime = path.join(folder, 'runtime')
  writeFileSync(runtime, script(real))
  chmodSync(runtime, 0o755)
  daemon = await startDaemon({ flags: ['--experimental', '--add-runtime', `frozen=${runtime}`] })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true })
})

const says = ['sh', '-c', 'echo "on $(cat /proc/sys/kernel/random/uuid)"; exec sleep 1000']

const runFrozen = (name: string, ...options: string[]): Promise<string> =>
  daemon.mustDocker(['run', '-d', '--runtime', 'frozen', '--name', name, ...options, 'busybox', ...says])

const lastCall = (): string => readFileSync(calls, 'utf8').trim().split('\n').at(-1) ?? ''

const status = async (name: string): Promise<string | undefined> =>
  (await inspected(daemon, name))?.State.Status

const ls = async (name: string, ...options: string[]): Promise<string[]> =>
  (await daemon.mustDocker(['checkpoint', 'ls', ...options, name])).split('\n').slice(1)

const refused = async (args: string[], words: RegExp): Promise<void> => {
  const { code, stderr } = await daemon.docker(args)
  assert.notEqual(code, 0)
  assert.match(stderr, words)
}

test('a checkpoint ends its container, and a start goes on from it with log and network', async () => {
  const id = await runFrozen('ended', '--restart', 'always', '-p', '127.0.0.1:8081:80')
  assert.equal(await daemon.mustDocker(['checkpoint', 'create', 'ended', 'one']), 'one')
  const home = path.join(daemon.dataRoot, 'containers', id, 'checkpoints')
  assert.match(
    lastCall(),
    new RegExp(`checkpoint --image-path ${home}/\\.new-\\S+ --work-path \\S+/criu ${id}$`),
  )
  assert.deepEqual(readdirSync(home), ['one'])
  assert.equal(await status('ended'), 'exited')
  const { State } = await daemon.json<{ State: { ExitCode: number } }>('GET', '/containers/ended/json')
  assert.equal(State.ExitCode, 137)
  await daemon.mustDocker(['start', '--checkpoint', 'one', 'ended'])
  assert.equal(await status('ended'), 'running')
  assert.match(
    lastCall(),
    new RegExp(`restore --detach --bundle \\S+ --image-path ${home}/one --work-path \\S+/criu --pid-file`),
  )
  const lines = await eventually('both runs are in the log', async () => {
    const text = await daemon.mustDocker(['logs', 'ended'])
    return text.split('\n').length === 2 && text
  })
  assert.match(lines, /^on \S+\non \S+$/)
  assert.match(await daemon.mustDocker(['port', 'ended']), /127\.0\.0\.1:8081/)
  assert.equal(await daemon.mustDocker(['exec', 'ended', 'echo', 'inside']), 'inside')
  assert.deepEqual(await ls('ended'), ['one'])
  const until = String(Date.now() / 1000)
  const events = await daemon.mustDocker([
    ...['events', '--since', '0', '--until', until, '--filter', 'container=ended', '--format', '{{.Action}}'],
  ])
  const actions = events.split('\n').filter(action => !action.startsWith('exec'))
  assert.deepEqual(actions, ['create', 'start', 'die', 'checkpoint', 'start'])
  await daemon.mustDocker(['rm', '-f', 'ended'])
  assert.equal(existsSync(home), false)
})

test('a container left running runs on; names are kept apart, and removed', async () => {
  await runFrozen('left')
  await daemon.mustDocker(['checkpoint', 'create', '--leave-running', 'left', 'a1'])
  assert.match(lastCall(), /--leave-running \S+$/)
  assert.equal(await status('left'), 'running')
  await refused(
    ['checkpoint', 'create', '--leave-running', 'left', 'a1'],
    /cannot checkpoint container left: checkpoint with name a1 already exists for container left/,
  )
  await daemon.mustDocker(['checkpoint', 'create', '--leave-running', 'left', 'b.2'])
  assert.deepEqual(await ls('left'), ['a1', 'b.2'])
  await daemon.mustDocker(['checkpoint', 'rm', 'left', 'a1'])
  assert.deepEqual(await ls('left'), ['b.2'])
  await refused(['checkpoint', 'rm', 'left', 'a1'], /checkpoint a1 does not exist for container left/)
  for (const name of ['..', 'a', '.new-1', 'a.', 'x%2fy']) {
    const body = { CheckpointID: name, Exit: false }
    const made = await daemon.api('POST', '/containers/left/checkpoints', body)
    assert.equal(made.status, 400, name)
    assert.match(made.text, /invalid checkpoint ID .*only \[a-zA-Z0-9\]\[a-zA-Z0-9_\.-\] are allowed/)
  }
  const gone = await daemon.api('DELETE', '/containers/left/checkpoints/..%2f..%2fconfig')
  assert.equal(gone.status, 400)
  await daemon.mustDocker(['rm', '-f', 'left'])
})

test('a checkpoint goes into a folder that the caller names', async () => {
  const other = path.join(folder, 'other')
  mkdirSync(other)
  await runFrozen('elsewhere')
  const place = ['--checkpoint-dir', other]
  await daemon.mustDocker(['checkpoint', 'create', '--leave-running', ...place, 'elsewhere', 'there'])
  assert.deepEqual(readdirSync(path.join(other, 'there')), ['inventory.img'])
  assert.deepEqual(await ls('elsewhere', ...place), ['there'])
  assert.deepEqual(await ls('elsewhere'), [])
  await daemon.mustDocker(['stop', '-t', '0', 'elsewhere'])
  await refused(
    ['start', '--checkpoint', 'there', ...place, 'elsewhere'],
    /custom checkpointdir is not supported/,
  )
  await refused(
    ['start', '--checkpoint', 'there', 'elsewhere'],
    /checkpoint there does not exist for container/,
  )
  assert.equal(await status('elsewhere'), 'exited')
  await daemon.mustDocker(['checkpoint', 'rm', ...place, 'elsewhere', 'there'])
  assert.deepEqual(readdirSync(other), [])
  await refused(
    ['checkpoint', 'ls', '--checkpoint-dir', '/nowhere', 'elsewhere'],
    /"\/nowhere" does not exist/,
  )
  await refused(['checkpoint', 'ls', '--checkpoint-dir', calls, 'elsewhere'], /exists but is not a directory/)
  await refused(['checkpoint', 'create', 'elsewhere', 'late'], /is not running/)
  await daemon.mustDocker(['rm', 'elsewhere'])
})

test('a failure harms nothing: the container runs on, or can be started anew', async () => {
  const id = await runFrozen('harmed', '--restart', 'always')
  await daemon.mustDocker(['checkpoint', 'create', '--leave-running', 'harmed', 'good'])
  writeFileSync(failing, '')
  await refused(
    ['checkpoint', 'create', 'harmed', 'bad'],
    /cannot checkpoint container harmed: criu failed: type NOTIFY errno 0\n\(00\.0\) Error .*Connected TCP socket/,
  )
  assert.equal(await status('harmed'), 'running')
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'containers', id, 'checkpoints')), ['good'])
  // What has not ended it is forgotten: its policy starts it again when it ends by itself.
  const { State } = await daemon.json<{ State: { Pid: number } }>('GET', '/containers/harmed/json')
  process.kill(State.Pid, 'SIGKILL')
  await eventually('its policy has started it again', async () => {
    const now = await daemon.json<{ State: { Pid: number; Running: boolean } }>(
      'GET',
      '/containers/harmed/json',
    )
    return now.State.Running && now.State.Pid !== State.Pid
  })
  await daemon.mustDocker(['stop', '-t', '0', 'harmed'])
  await refused(
    ['start', '--checkpoint', 'good', 'harmed'],
    /cannot restore container harmed from checkpoint good: criu failed: .*\n.*Connected TCP socket/,
  )
  assert.equal(await status('harmed'), 'exited')
  rmSync(failing)
  await daemon.mustDocker(['start', 'harmed'])
  assert.equal(await status('harmed'), 'running')
  await daemon.mustDocker(['rm', '-f', 'harmed'])
})

test('without CRIU the error says what is missing', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'plain', '--runtime', 'runc', 'busybox', 'sleep', '1000'])
  const { code, stderr } = await daemon.docker(['checkpoint', 'create', 'plain', 'one'])
  assert.notEqual(code, 0)
  assert.match(stderr, /cannot checkpoint container plain: .*CRIU.*is not on the daemon's PATH: install it/s)
  assert.equal(await status('plain'), 'running')
  assert.equal(await daemon.mustDocker(['exec', 'plain', 'echo', 'on']), 'on')
  assert.deepEqual(await ls('plain'), [])
  await daemon.mustDocker(['rm', '-f', 'plain'])
})

test('where experimental features are off, nothing of it is there', async () => {
  const other = await startDaemon()
  await other.loadBusybox()
  const { Id } = await other.json<{ Id: string }>('POST', '/containers/create', { Image: 'busybox' })
  const words = /This experimental feature is disabled by default/
  for (const [method, url] of [
    ['GET', `/containers/${Id}/checkpoints`],
    ['POST', `/containers/${Id}/checkpoints`],
    ['DELETE', `/containers/${Id}/checkpoints/one`],
  ] as const) {
    const { status, text } = await other.api(method, url, method === 'POST' ? {} : undefined)
    assert.equal(status, 501)
    assert.match(text, words)
  }
  const start = await other.api('POST', `/containers/${Id}/start?checkpoint=one`)
  assert.equal(start.status, 400)
  assert.match(start.text, /checkpoint is only supported in experimental mode/)
  assert.equal((await other.api('DELETE', `/containers/${Id}`)).status, 204)
  await other.close()
})
