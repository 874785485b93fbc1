import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { makeCertificates } from '../src/registry-client/testing/certificates.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { run, until } from './harness/shell.ts'

/** `--audit-log`: who asked what of the daemon, and what came of it. */

interface Line {
  time: string
  phase: 'begun' | 'ended'
  request: string
  who: { kind: string; uid?: number; gid?: number; pid?: number; subject?: string; agent: string }
  method: string
  path: string
  operation: string
  object?: Record<string, string>
  query?: Record<string, string>
  status?: number
  error?: string
  id?: string
}

let folder: string
let daemon: TestDaemon

const file = (): string => path.join(folder, 'audit.log')

before(async () => {
  folder = mkdtempSync('/tmp/berth-audit-')
  const { authority, client, server } = makeCertificates()
  const put = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text)
    return path.join(folder, name)
  }
  put('cert.pem', client.cert)
  put('key.pem', client.key)
  daemon = await startDaemon({
    flags: [
      ...['--audit-log', file(), '--tlsverify', '--tlscacert', put('ca.pem', authority)],
      ...['--tlscert', put('server.pem', server.cert), '--tlskey', put('server-key.pem', server.key)],
      ...['-H', 'tcp://127.0.0.1:2376'],
    ],
  })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true, force: true })
})

const lines = (name = file()): Line[] =>
  readFileSync(name, 'utf8')
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Line)

const linesOf = (operation: string): Line[] => lines().filter(line => line.operation === operation)

test('a request that changes something has a line before and one after, with who asked and what came of it', async () => {
  const id = await daemon.mustDocker(['create', '--name', 'made', 'busybox'])
  const [begun, ended] = linesOf('ContainerCreate')
  assert.ok(begun && ended)
  assert.deepEqual(
    [begun.phase, begun.method, begun.path, begun.query?.['name'], begun.status],
    ['begun', 'POST', '/v1.45/containers/create', 'made', undefined],
  )
  assert.deepEqual([ended.phase, ended.status, ended.id], ['ended', 201, id])
  assert.equal(begun.request, ended.request)
  assert.deepEqual([begun.who.kind, begun.who.uid, begun.who.gid], ['unix', 0, 0])
  assert.ok((begun.who.pid ?? 0) > 1)
  assert.match(begun.who.agent, /^Docker-Client\//)
  assert.equal((statSync(file()).mode & 0o777).toString(8), '600')
})

test('reading has one line, a failure says why, a stream what became of it', async () => {
  await daemon.docker(['rm', 'nobody'])
  assert.deepEqual(
    linesOf('ContainerDelete').map(({ phase, status, error, object }) => [
      phase,
      status,
      error,
      object?.['id'],
    ]),
    [
      ['begun', undefined, undefined, 'nobody'],
      ['ended', 404, 'No such container: nobody', 'nobody'],
    ],
  )
  await daemon.mustDocker(['inspect', 'made'])
  const read = linesOf('ContainerInspect')
  assert.deepEqual(
    read.map(({ phase, status }) => [phase, status]),
    [['ended', 200]],
  )
  assert.equal(await daemon.mustDocker(['run', '--rm', '-i', 'busybox', 'cat'], { input: 'hello' }), 'hello')
  assert.deepEqual(
    linesOf('ContainerAttach').map(({ phase, status }) => [phase, status]),
    [
      ['begun', undefined],
      ['ended', 101],
    ],
  )
})

test('another user is told from root, and a client by TLS by its certificate', async () => {
  const { stdout } = await run([
    'python3',
    '-c',
    `
import os, socket
s = socket.socket(socket.AF_UNIX); s.connect('${daemon.socket}'); os.setgroups([]); os.setgid(65534); os.setuid(65534)
t = socket.socket(socket.AF_UNIX)
try: t.connect('${daemon.socket}')
except PermissionError: print('refused')
s.sendall(b'GET /_ping HTTP/1.0\\r\\n\\r\\n'); print(s.recv(100)[:15])`,
  ])
  assert.match(stdout, /refused\nb'HTTP\/1\.1 200 OK'/)
  const flags = ['--tlsverify', '--tlscacert', 'ca.pem', '--tlscert', 'cert.pem', '--tlskey', 'key.pem'].map(
    flag => (flag.endsWith('.pem') ? path.join(folder, flag) : flag),
  )
  const { code, stderr } = await daemon.onHost([
    ...[daemon.client, '-H', 'tcp://127.0.0.1:2376', ...flags, 'volume', 'create', 'by-tls'],
  ])
  assert.equal(code, 0, stderr)
  const who = linesOf('VolumeCreate').at(-1)?.who
  assert.deepEqual([who?.kind, who?.subject], ['tls', 'client'])
})

test('values that may be secrets are not in it', async () => {
  await daemon.api(
    'POST',
    `/build?remote=${encodeURIComponent('https://user:word@example')}&buildargs=%7B%22A%22%3A%22word%22%7D&t=a`,
  )
  assert.deepEqual(linesOf('ImageBuild').at(-1)?.query, { remote: '***', buildargs: '***', t: 'a' })
})

test('what was under way when the daemon died is there', async () => {
  await daemon.kill()
  await daemon.start({ env: { BERTH_FAILPOINTS: 'volume.create.staged=kill' } })
  await daemon.docker(['volume', 'create', 'cut'])
  await daemon.exited()
  assert.deepEqual(linesOf('VolumeCreate').at(-1)?.phase, 'begun')
  await daemon.start()
})

test('after a rotation and a reload the file is a new one, and nothing is lost', async () => {
  renameSync(file(), `${file()}.1`)
  await daemon.mustDocker(['volume', 'create', 'before'])
  assert.equal(lines(`${file()}.1`).at(-1)?.id, undefined)
  assert.equal(lines(`${file()}.1`).at(-1)?.operation, 'VolumeCreate')
  process.kill(daemon.pid, 'SIGHUP')
  await until('the new file', () => daemon.log.includes('configuration reloaded'))
  await daemon.mustDocker(['volume', 'create', 'after'])
  assert.deepEqual(
    linesOf('VolumeCreate').map(({ phase }) => phase),
    ['begun', 'ended'],
  )
})

test('a file that cannot be opened is an error at the start', async () => {
  const { code, stderr } = await daemon.onHost([
    ...[
      'node',
      'src/daemon/main.ts',
      '--data-root',
      path.join(folder, 'd'),
      '--exec-root',
      path.join(folder, 'e'),
    ],
    ...['--pidfile', path.join(folder, 'p'), '-H', `unix://${folder}/s`, '--audit-log', '/proc/none/audit'],
  ])
  assert.equal(code, 1)
  assert.match(stderr, /the audit log \/proc\/none\/audit cannot be opened: .*ENOENT/)
})
