import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { makeCertificates, type TestCertificates } from '../src/registry-client/testing/certificates.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { projectRoot } from './harness/images.ts'
import { type Outcome, type RunOptions, run, until } from './harness/shell.ts'

/** The API over TCP with TLS, as the real client speaks to it from a host that has certificates. */

const address = 'tcp://127.0.0.1:2376'
const certificates = makeCertificates()
const others = makeCertificates()
let folder: string
let daemon: TestDaemon

const store = (name: string, { authority, client, server }: TestCertificates): void => {
  const put = (file: string, text: string): void => writeFileSync(path.join(folder, `${name}-${file}`), text)
  put('ca.pem', authority)
  put('cert.pem', client.cert)
  put('key.pem', client.key)
  put('server.pem', server.cert)
  put('server-key.pem', server.key)
}

const of = (name: string): string => path.join(folder, name)

const serverFlags = (): string[] => [
  ...['--tlscacert', of('server-ca.pem')],
  ...['--tlscert', of('server-server.pem')],
  ...['--tlskey', of('server-server-key.pem')],
]

before(async () => {
  folder = mkdtempSync('/tmp/berth-tls-')
  store('own', certificates)
  store('other', others)
  store('server', certificates)
  daemon = await startDaemon({ flags: ['--tlsverify', ...serverFlags(), '-H', 'tcp://127.0.0.1'] })
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(folder, { recursive: true, force: true })
})

const client = (flags: string[], args: string[], options?: RunOptions): Promise<Outcome> =>
  daemon.onHost([daemon.client, '-H', address, ...flags, ...args], options)

/** Files named of a client, which trusts the authority that `authority` names. */
const as = (name: string, authority = name): string[] => [
  ...['--tlsverify', '--tlscacert', of(`${authority}-ca.pem`)],
  ...['--tlscert', of(`${name}-cert.pem`), '--tlskey', of(`${name}-key.pem`)],
]

const must = async (flags: string[], args: string[], options?: RunOptions): Promise<string> => {
  const { code, stdout, stderr } = await client(flags, args, options)
  assert.equal(code, 0, stderr)
  return stdout.trimEnd()
}

test('a client with a certificate does over TLS what it does over the socket', async () => {
  const id = await daemon.mustDocker(['info', '-f', '{{.ID}}'])
  assert.equal(await must(as('own'), ['info', '-f', '{{.ID}}']), id)
  assert.equal(await must(as('own'), ['run', '--rm', 'busybox', 'echo', 'hello']), 'hello')
  assert.equal((await client(as('own'), ['run', '--rm', 'busybox', 'sh', '-c', 'exit 7'])).code, 7)
  await must(as('own'), ['run', '-d', '--name', 'long', 'busybox', 'sleep', '1000'])
  assert.equal(await must(as('own'), ['exec', '-i', 'long', 'cat'], { input: 'by exec' }), 'by exec')
})

test("the input's end and many bytes pass both ways", async () => {
  const input = `${'line '.repeat(2000)}\n`.repeat(500)
  const { code, stdout } = await client(as('own'), ['run', '-i', '--rm', 'busybox', 'cat'], { input })
  assert.deepEqual([code, stdout.length, stdout === input], [0, input.length, true])
})

test('who has no certificate of the authority gets nothing', async () => {
  const refusals: [flags: string[], why: RegExp][] = [
    [['--tlsverify', '--tlscacert', of('own-ca.pem')], /certificate required|bad certificate/],
    [
      as('other', 'own'),
      /unknown certificate authority|bad certificate|certificate required|EOF|reset by peer/,
    ],
    [[], /Client sent an HTTP request to an HTTPS server|EOF|connection reset|malformed HTTP/],
  ]
  for (const [flags, why] of refusals) {
    const { code, stdout, stderr } = await client(flags, ['ps', '-q'], {
      env: { DOCKER_CERT_PATH: of('nowhere') },
    })
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, why)
  }
  assert.match(daemon.log, /TLS handshake error" client=127\.0\.0\.1/)
})

test('a reload takes other certificates, and wrong ones change nothing', async () => {
  const reload = async (outcome: string): Promise<void> => {
    const before = daemon.log.split(outcome).length
    process.kill(daemon.pid, 'SIGHUP')
    await until('the reload', () => daemon.log.split(outcome).length > before)
  }
  writeFileSync(of('server-ca.pem'), 'no certificate')
  await reload('configuration not reloaded: invalid TLS configuration: failed to append certificates')
  assert.notEqual(await must(as('own'), ['ps', '-q']), '')
  store('server', others)
  await reload('configuration reloaded')
  assert.notEqual(await must(as('other'), ['ps', '-q']), '')
  assert.equal((await client(as('own', 'other'), ['ps', '-q'])).code, 1)
  store('server', certificates)
})

test('with --tlsverify=false clients need no certificate, which the log warns of', async () => {
  await daemon.restart({ flags: ['--tlsverify=false'] })
  const trusting = ['--tlsverify', '--tlscacert', of('own-ca.pem')]
  const env = { DOCKER_CERT_PATH: of('nowhere') }
  assert.notEqual(await must(trusting, ['ps', '-q'], { env }), '')
  assert.match(
    daemon.log,
    /Binding to IP address without --tlsverify is insecure.* host=tcp:\/\/127\.0\.0\.1/,
  )
})

test('wrong files, and TCP for all without a word for it, are refused', async () => {
  const refused = async (flags: string[], why: RegExp): Promise<void> => {
    const { code, stderr } = await run([path.join(projectRoot, 'bin/berthd'), '--validate', ...flags])
    assert.equal(code, 1, stderr)
    assert.match(stderr, why)
  }
  await refused(['--tls', '--tlscert', of('absent')], /could not load X509 key pair \(cert: ".*absent"/)
  await refused(
    ['--tlsverify', '--tlscert', of('own-cert.pem'), '--tlskey', of('other-key.pem')],
    /error reading X509 key pair - make sure the key is not encrypted/,
  )
  await refused(
    ['--tls', ...serverFlags(), '--tlscacert', of('absent')],
    /could not read CA certificate ".*absent"/,
  )
  await refused(['-H', 'tcp://0.0.0.0'], /refusing to listen on tcp:\/\/0\.0\.0\.0: without TLS/)
  const { stdout } = await run([
    ...[path.join(projectRoot, 'bin/berthd'), '--validate', '--tls=false', '-H', 'tcp://0.0.0.0'],
  ])
  assert.equal(stdout, 'configuration OK\n')
})
