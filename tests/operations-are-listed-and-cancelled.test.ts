import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { writeTar } from '../src/archive/writer.ts'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { busyboxArchive, file } from './harness/images.ts'
import { monitorsOf } from './harness/monitors.ts'
import { must, until } from './harness/shell.ts'
import { inspected } from './harness/verbs.ts'

/** What takes long is listed while it does, and can be cancelled: it then leaves nothing behind. */
interface Operation {
  Id: string
  Verb: string
  Subject: { Type: string; Id: string; Name: string }
  Started: string
  Step: string
  Client?: {
    Remote: string
    UserAgent: string
    RequestId: string
    Process?: { Uid: number; Pid: number; Name: string }
  }
  Cancelled: boolean
  Irrevocable: string
}

/** A runtime that does its work, but hangs in the verb that the file `hang` names. */
const folder = mkdtempSync('/tmp/berth-operations-')
const hang = path.join(folder, 'hang')
let daemon: TestDaemon
before(async () => {
  const real = await must(['sh', '-c', 'command -v runc'])
  const script = `#!/bin/sh
verb=$(cat ${hang} 2>/dev/null)
for word in "$@"; do
  if [ "$word" = "$verb" ]; then touch ${folder}/called; sleep 1000; fi
done
exec ${real} "$@"
`
  writeFileSync(path.join(folder, 'runtime'), script)
  chmodSync(path.join(folder, 'runtime'), 0o755)
  daemon = await startDaemon({ flags: ['--add-runtime', `slow=${path.join(folder, 'runtime')}`] })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true })
})

const list = (): Promise<Operation[]> => daemon.json('GET', '/berth/v1/operations')

const underWay = (verb: string): Promise<Operation> =>
  until(`${verb} was under way`, async () => (await list()).find(operation => operation.Verb === verb))

const cancel = (operation: Operation) =>
  daemon.api('DELETE', `/berth/v1/operations/${operation.Id}?by=the+test`)

/** Cancels what is under way with this verb, and waits until it has taken everything back. */
const cancelled = async (verb: string): Promise<Operation> => {
  const operation = await underWay(verb)
  const { status, text } = await cancel(operation)
  assert.equal(status, 202, text)
  await until('it has ended', async () => !(await list()).some(other => other.Id === operation.Id))
  return operation
}

const hangIn = (verb: string): void => {
  rmSync(path.join(folder, 'called'), { force: true })
  writeFileSync(hang, verb)
}
const hanging = (): Promise<boolean> =>
  until('the runtime hangs', () => existsSync(path.join(folder, 'called')))
const goOn = (): void => rmSync(hang, { force: true })

/** A request whose body stops in the middle. */
const stalled = (method: string, url: string, bytes: Buffer): ClientRequest => {
  const headers = { Host: 'docker', 'User-Agent': 'stalling/1', 'X-Request-Id': 'request-7' }
  const req = request({ socketPath: daemon.socket, method, path: url, headers })
  req.write(bytes)
  return req
}

const answerOf = async (req: ClientRequest): Promise<{ status: number; text: string }> => {
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of res) chunks.push(chunk as Buffer)
  return { status: res.statusCode ?? 0, text: Buffer.concat(chunks).toString() }
}

test('a load that stalls is listed with who asked for it, and its cancelling removes what it brought', async () => {
  const archive = readFileSync(await busyboxArchive())
  const req = stalled('POST', '/images/load', archive.subarray(0, archive.length / 2))
  const answer = answerOf(req)
  const operation = await until('it reads', async () => {
    const found = await underWay('load')
    return found.Step === 'reading the archive' ? found : undefined
  })
  const { Process: by, ...client } = operation.Client ?? {}
  assert.deepEqual(client, { Remote: 'unix', UserAgent: 'stalling/1', RequestId: 'request-7' })
  assert.deepEqual([by?.Uid, by?.Pid], [process.getuid?.(), process.pid])
  assert.deepEqual([operation.Cancelled, operation.Irrevocable], [false, ''])
  assert.ok(Math.abs(Date.parse(operation.Started) - Date.now()) < 60_000)
  await until('a part is on the disk', () =>
    readdirSync(path.join(daemon.dataRoot, 'blobs/sha256')).some(name => name.startsWith('.')),
  )
  await cancelled('load')
  assert.match((await answer).text, /"error":"load of images was cancelled by the test"/)
  req.destroy()
  await audit(daemon)
})

test('who removes an image waits for no load that stalls, and content goes with the end of that', async () => {
  const archive = readFileSync(await busyboxArchive())
  const req = stalled('POST', '/images/load', archive.subarray(0, archive.length / 2))
  const answer = answerOf(req)
  await underWay('load')
  assert.match(await daemon.mustDocker(['rmi', 'busybox']), /Deleted: sha256:/)
  // Nor does anybody wait behind it.
  await daemon.loadBusybox()
  assert.match(await daemon.mustDocker(['image', 'prune', '-af']), /deleted: sha256:/)
  const blobs = (): string[] => readdirSync(path.join(daemon.dataRoot, 'blobs/sha256'))
  assert.ok(blobs().length > 0)
  await cancelled('load')
  await answer
  req.destroy()
  await until('nothing is left', () => blobs().length === 0)
  await daemon.loadBusybox()
  await audit(daemon)
})

test('a clean-up waits for a load that stalls, and ends when that, or it itself, is cancelled', async () => {
  const archive = readFileSync(await busyboxArchive())
  const waits = (): Promise<Operation> =>
    until('it waits', async () => {
      const found = await underWay('clean-up')
      return found.Step.endsWith('after loads under way') ? found : undefined
    })
  for (const verb of ['load', 'clean-up']) {
    const req = stalled('POST', '/images/load', archive.subarray(0, archive.length / 2))
    const answer = answerOf(req)
    await underWay('load')
    const cleaning = daemon.api('POST', '/berth/v1/images/clean-up?max-size=1k')
    await waits()
    await cancelled(verb)
    const { status, text } = await cleaning
    assert.deepEqual(
      [status, /cancelled by the test/.test(text)],
      verb === 'load' ? [200, false] : [409, true],
    )
    if (verb !== 'load') await cancelled('load')
    await answer
    req.destroy()
    assert.equal(await daemon.mustDocker(['images', '-q']), '')
    await daemon.loadBusybox()
    await audit(daemon)
  }
})

test('what cannot be taken back says why', async () => {
  const id = await daemon.mustDocker(['run', '-d', '--name', 'late', 'busybox', 'sleep', '1000'])
  const monitor = monitorsOf(daemon.execRoot).find(found => found.id === id)?.pid ?? 0
  // Its container ends, and nobody sees it.
  process.kill(monitor, 'SIGSTOP')
  const stopping = daemon.docker(['stop', '-t', '0', 'late'])
  try {
    const operation = await until('it has sent what cannot be called back', async () => {
      const found = await underWay('stop')
      return found.Irrevocable === '' ? undefined : found
    })
    const { status, text } = await cancel(operation)
    assert.equal(status, 409)
    assert.match(text, /stop of container late cannot be cancelled any more: SIGKILL has been sent/)
    assert.equal((await cancel({ Id: 'gone' } as Operation)).status, 404)
  } finally {
    process.kill(monitor, 'SIGCONT')
  }
  assert.equal((await stopping).code, 0)
  await daemon.mustDocker(['rm', 'late'])
  await audit(daemon)
})

test('a start is given up, and the container stays as it was', async () => {
  await daemon.mustDocker(['create', '--name', 'late', '--runtime', 'slow', 'busybox', 'true'])
  hangIn('run')
  const starting = daemon.docker(['start', 'late'])
  await hanging()
  const operation = await cancelled('start')
  assert.equal(operation.Subject.Name, 'late')
  assert.equal(operation.Step, 'waiting for the OCI runtime')
  const { code, stderr } = await starting
  assert.equal(code, 1)
  assert.match(stderr, /start of container late was cancelled by the test/)
  goOn()
  const state = (await inspected(daemon, 'late'))?.State
  assert.equal(state?.Status, 'created')
  await audit(daemon)
  await daemon.mustDocker(['start', '-a', 'late'])
  await daemon.mustDocker(['rm', 'late'])
})

test('a restart by policy that hangs is called off by a stop, and so it is told', async () => {
  const options = ['--name', 'back', '--restart=always', '--runtime=slow']
  await daemon.mustDocker(['run', '-d', ...options, 'busybox', 'false'])
  hangIn('run')
  await hanging()
  await daemon.mustDocker(['stop', 'back'])
  const { Ends } = await daemon.json<{ Ends: { Cause: string; Outcome: { What: string; Verb?: string } }[] }>(
    'GET',
    '/berth/v1/containers/back/why',
  )
  const [last] = Ends
  assert.deepEqual(
    [last?.Cause, last?.Outcome.What, last?.Outcome.Verb],
    ['start-failed', 'cancelled', 'stop'],
  )
  goOn()
  await daemon.mustDocker(['rm', 'back'])
  await audit(daemon)
})

test('a verb that waits for its turn leaves the row', async () => {
  await daemon.mustDocker(['create', '--name', 'late', '--runtime', 'slow', 'busybox', 'true'])
  hangIn('run')
  const starting = daemon.docker(['start', 'late'])
  await hanging()
  const removing = daemon.docker(['rm', 'late'])
  await cancelled('rm')
  assert.match((await removing).stderr, /rm of container late was cancelled by the test/)
  assert.deepEqual(
    (await list()).map(({ Verb }) => Verb),
    ['start'],
  )
  goOn()
  await daemon.mustDocker(['rm', '-f', 'late'])
  assert.match((await starting).stderr, /cancelled by its removal/)
  await audit(daemon)
})

test('a stop that waits is given up, and the container runs on', async () => {
  const stubborn = ['sh', '-c', 'trap "" TERM; while true; do sleep 1; done']
  await daemon.mustDocker(['run', '-d', '--name', 'stubborn', 'busybox', ...stubborn])
  const stopping = daemon.docker(['stop', '-t', '-1', 'stubborn'])
  await until('it waits', async () => (await underWay('stop')).Step.includes('after signal 15'))
  await cancelled('stop')
  assert.match((await stopping).stderr, /stop of container stubborn was cancelled by the test/)
  assert.equal((await inspected(daemon, 'stubborn'))?.State.Status, 'running')
  await daemon.mustDocker(['rm', '-f', 'stubborn'])
})

test('an exec and a commit that hang in the runtime are given up', async () => {
  await daemon.mustDocker(['run', '-d', '--name', 'web', '--runtime', 'slow', 'busybox', 'sleep', '1000'])
  hangIn('exec')
  const executing = daemon.docker(['exec', 'web', 'true'])
  await hanging()
  assert.equal((await cancelled('start')).Subject.Name, 'in web')
  const { code, stdout, stderr } = await executing
  assert.equal(code, 126)
  assert.match(stdout + stderr, /start of exec in web was cancelled by the test/)
  hangIn('pause')
  const committing = daemon.docker(['commit', 'web', 'snapshot:1'])
  await hanging()
  await cancelled('commit')
  assert.match((await committing).stderr, /commit of container web was cancelled by the test/)
  goOn()
  assert.equal((await inspected(daemon, 'web'))?.State.Status, 'running')
  assert.equal(await daemon.mustDocker(['exec', 'web', 'echo', 'alive']), 'alive')
  assert.equal((await daemon.docker(['image', 'inspect', 'snapshot:1'])).code, 1)
  await daemon.mustDocker(['rm', '-f', 'web'])
  await audit(daemon)
})

test('archives that stall on their way in or out are given up', async () => {
  await daemon.mustDocker(['create', '--name', 'tree', 'busybox', 'true'])
  const chunks: Uint8Array[] = []
  for await (const chunk of writeTar([file('big', Buffer.alloc(4 << 20, 'x'))])) chunks.push(chunk)
  const archive = Buffer.concat(chunks)
  const incoming = stalled('PUT', '/containers/tree/archive?path=/tmp', archive.subarray(0, 1 << 20))
  const answer = answerOf(incoming)
  await cancelled('cp')
  const { status, text } = await answer
  assert.equal(status, 409)
  assert.match(text, /cp of container tree was cancelled by the test/)
  incoming.destroy()
  for (const url of [
    '/containers/tree/export',
    '/images/busybox/get',
    '/containers/tree/archive?path=/bin',
  ]) {
    const req = stalled('GET', url, Buffer.alloc(0))
    req.end()
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    const cut = once(res, 'error')
    await cancelled(url.includes('export') ? 'export' : url.includes('get') ? 'save' : 'cp')
    res.resume()
    await cut
  }
  await daemon.mustDocker(['rm', 'tree'])
  await audit(daemon)
})
