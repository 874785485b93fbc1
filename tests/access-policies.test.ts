import assert from 'node:assert/strict'
import { copyFileSync, existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { makeCertificates } from '../src/registry-client/testing/certificates.ts'
import { TestDaemon } from './harness/daemon.ts'
import { projectRoot } from './harness/images.ts'
import { type Outcome, run, until } from './harness/shell.ts'

/** `access-policies`: what clients may do, by their socket, user, group or certificate. */

const daemon = new TestDaemon({ flags: ['-G', '4321'] })
const readSocket = path.join(daemon.base, 'read.sock')
const file = (name: string): string => path.join(daemon.base, name)

const policies = [
  { name: 'watchers', who: { sockets: [readSocket] }, allow: ['read'] },
  { name: 'by hand', who: { users: ['4001'] }, allow: ['all'], deny: ['Container*', 'ExecStart'] },
  { name: 'by group', who: { groups: ['4777'] }, allow: ['read', 'ContainerStop'] },
  { name: 'machines', who: { certificates: ['ci-*', 'client'] }, allow: ['read', 'content'] },
]

const configure = (accessPolicies: unknown): void =>
  writeFileSync(file('daemon.json'), JSON.stringify({ 'access-policies': accessPolicies }))

before(async () => {
  await daemon.prepare()
  configure(policies)
  const { authority, client, server } = makeCertificates()
  const pairs = { 'ca.pem': authority, 'server.pem': server.cert, 'server-key.pem': server.key }
  for (const [name, text] of Object.entries({ ...pairs, 'cert.pem': client.cert, 'key.pem': client.key }))
    writeFileSync(file(name), text)
  await daemon.start({
    flags: [
      ...['-H', `unix://${readSocket}`, '-H', 'tcp://127.0.0.1:2376', '--tlsverify'],
      ...['--tlscacert', file('ca.pem'), '--tlscert', file('server.pem'), '--tlskey', file('server-key.pem')],
    ],
  })
  await daemon.loadBusybox()
  // Where other users can reach it.
  copyFileSync(daemon.client, file('docker'))
  await daemon.mustDocker(['run', '-d', '--name', 'box', 'busybox', 'sh', '-c', 'echo said; sleep 1000'])
})
after(() => daemon.close())

/** The real client as some user in the socket's group. */
const as = (uid: number, groups: string, ...args: string[]): Promise<Outcome> =>
  run(['setpriv', '--reuid', String(uid), '--regid', '4321', `--groups=${groups}`, file('docker'), ...args], {
    env: { DOCKER_HOST: `unix://${daemon.socket}`, DOCKER_CONFIG: '/nowhere' },
  })

const overReadSocket = (...args: string[]): Promise<Outcome> =>
  daemon.docker(['-H', `unix://${readSocket}`, ...args])

const denied = ({ code, stderr }: Outcome, words: RegExp): void => {
  assert.notEqual(code, 0)
  assert.match(stderr, words)
}

test('a socket for looking: state and logs, no content, no change', async () => {
  assert.match((await overReadSocket('ps', '--format', '{{.Names}}')).stdout, /^box$/m)
  assert.equal((await overReadSocket('logs', 'box')).stdout, 'said\n')
  for (const command of [
    ['stop', 'box'],
    ['exec', 'box', 'true'],
    ['run', '--rm', 'busybox', 'true'],
    ['cp', 'box:/etc/passwd', '-'],
    ['export', 'box'],
    ['save', 'busybox'],
    ['volume', 'create', 'vol'],
    ['system', 'prune', '-f'],
    ['pull', 'nothere.example/x'],
  ])
    denied(
      await overReadSocket(...command),
      /access denied: the policy "watchers" does not let the user with id 0 do \w+/,
    )
  const attach = await run(
    ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--unix-socket', readSocket].concat(
      'http://x/containers/box/attach/ws?stdin=1',
    ),
  )
  assert.equal(attach.stdout, '403')
  assert.equal(await daemon.mustDocker(['inspect', '-f', '{{.State.Status}}', 'box']), 'running')
})

test('a user and a group have their policies, and the first that names one counts', async () => {
  assert.equal((await as(4001, '4321', 'images', '-q')).code, 0)
  denied(
    await as(4001, '4321', 'ps'),
    /the policy "by hand" does not let the user with id 4001 do ContainerList/,
  )
  denied(await as(4001, '4321,4777', 'stop', 'box'), /"by hand"/)
  denied(await as(4002, '4321,4777', 'rm', '-f', 'box'), /the policy "by group".* do ContainerDelete/)
  assert.equal((await as(4002, '4321,4777', 'stop', '-t', '0', 'box')).code, 0)
  const free = await as(4003, '4321', 'start', 'box')
  assert.equal(free.code, 0, free.stderr)
})

test('a certificate has one', async () => {
  const over = (...args: string[]): Promise<Outcome> =>
    daemon.onHost([daemon.client, '-H', 'tcp://127.0.0.1:2376', '--tlsverify', ...args], {
      env: { DOCKER_CERT_PATH: daemon.base },
    })
  assert.equal((await over('cp', 'box:/etc/passwd', '-')).code, 0)
  denied(
    await over('kill', 'box'),
    /the policy "machines" does not let the certificate "client" do ContainerKill/,
  )
})

test('SIGHUP reads them again; one that is wrong changes nothing, and keeps a daemon from starting', async () => {
  configure([{ name: 'nobody changes', allow: ['read'] }])
  process.kill(daemon.pid, 'SIGHUP')
  await until('everyone has it', async () => (await daemon.docker(['volume', 'create', 'vol'])).code !== 0)
  const wrong: [unknown, RegExp][] = [
    [
      { name: 'typo', allow: ['ContainerStrat'] },
      /access-policies: typo: "ContainerStrat" is no operation: use read/,
    ],
    [
      { name: 'gone', who: { users: ['nobody-has-this-name'] }, allow: ['read'] },
      /there is no user "nobody-has-this-name"/,
    ],
    [{ name: 'empty', who: {}, allow: ['read'] }, /who names nobody/],
    [{ name: 'open' }, /allow is missing/],
    [{ name: 'odd', allow: [], users: [] }, /unknown users: use name, who, allow, deny/],
    [
      { name: 'astray', who: { sockets: ['/run/nowhere.sock'] }, allow: ['read'] },
      /not reloaded: access-policies: astray: the daemon does not listen on the unix socket "\/run\/nowhere\.sock": it listens on \S+docker\.sock, \S+read\.sock/,
    ],
    [{ allow: [] }, /number 1: it has no name/],
  ]
  for (const [policy, words] of wrong) {
    configure([policy])
    process.kill(daemon.pid, 'SIGHUP')
    await until('the refusal', () => words.test(daemon.log.replaceAll('\\"', '"')))
  }
  const start = await run([
    path.join(projectRoot, 'bin/berthd'),
    '--validate',
    '--config-file',
    file('daemon.json'),
  ])
  assert.equal(start.code, 1)
  assert.match(start.stderr, /number 1: it has no name/)
  denied(await daemon.docker(['volume', 'create', 'vol']), /the policy "nobody changes"/)
  configure([])
  process.kill(daemon.pid, 'SIGHUP')
  await until(
    'nobody is held any more',
    async () => (await daemon.docker(['volume', 'create', 'vol'])).code === 0,
  )
})

test('a policy by a socket on which the daemon would not listen keeps it from starting', async () => {
  const policy = file('sockets.json')
  const roots = ['--data-root', file('never'), '--exec-root', file('never'), '--pidfile', file('never/pid')]
  const start = (socket: string, ...flags: string[]): Promise<Outcome> => {
    const policies = [{ name: 'by socket', who: { sockets: [socket] }, allow: ['read'] }]
    writeFileSync(policy, JSON.stringify({ 'access-policies': policies }))
    return run([path.join(projectRoot, 'bin/berthd'), '--config-file', policy, ...roots, ...flags])
  }
  const hosts = ['-H', `unix://${file('one.sock')}`, '-H', 'tcp://127.0.0.1:1']
  for (const more of [hosts, [...hosts, '--validate']]) {
    const { code, stderr } = await start(file('two.sock'), ...more)
    assert.equal(code, 1)
    assert.match(
      stderr,
      /by socket: the daemon does not listen on the unix socket "\S+two\.sock": it listens/,
    )
  }
  assert.equal(existsSync(file('never')), false)
  for (const name of [file('one.sock'), `unix://${file('one.sock')}`, path.join(daemon.base, './one.sock')])
    assert.equal((await start(name, ...hosts, '--validate')).code, 0)
  assert.equal((await start('/run/berth/docker.sock', '--validate')).code, 0)
  assert.match((await start('x', '-H', 'tcp://127.0.0.1:1', '--validate')).stderr, /it listens on none/)
  // Before systemd has handed its sockets over nobody can tell.
  assert.equal((await start(file('two.sock'), '-H', 'fd://', '--validate')).code, 0)
})
