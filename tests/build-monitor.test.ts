import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { startTerminal, type Terminal } from './harness/terminal.ts'

/** `docker buildx debug` of the real client: a shell in what a build made, or in what a step left that failed. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const debug = (folder: string, on: 'always' | 'error', ...options: string[]): Terminal =>
  startTerminal(
    [
      ...[daemon.client, 'buildx', 'debug', '--detach=false', `--on=${on}`, '--invoke', '/bin/sh'],
      ...['build', '--progress=plain', ...options, folder],
    ],
    { ...daemon.dockerEnv, HOME: daemon.base, BUILDX_EXPERIMENTAL: '1' },
  )

test('a shell runs in the result, another process in a new container, and nothing of either stays', async () => {
  const folder = makeContext(daemon, ['FROM busybox', 'ENV OF_IMAGE=yes', 'RUN echo made >/made'])
  {
    await using terminal = debug(folder, 'always', '-t', 'debugged')
    await terminal.until('/ # ')
    terminal.type('cat /made; echo $OF_IMAGE $TERM; tty; touch /touched; exit 4\n')
    // What was typed is shown, too.
    await terminal.until('exit 4')
    for (const text of ['made', 'yes xterm', '/dev/pts/0']) await terminal.until(text)
    await terminal.until('ERROR: invoke: exit code: 4', '(buildx) ')
    terminal.type('exec /bin/sh -c "ls /made /touched; echo over"\r')
    await terminal.until('/touched: No such file or directory')
    await terminal.until('over')
    terminal.type('exit\r')
  }
  assert.equal(
    await daemon.mustDocker(['run', '--rm', 'debugged', 'sh', '-c', 'ls /made /touched 2>&1 || true']),
    'ls: /touched: No such file or directory\n/made',
  )
  await audit(daemon)
})

test('a shell whose client is killed is gone', async () => {
  const folder = makeContext(daemon, ['FROM busybox', 'RUN echo other >/made'])
  {
    await using terminal = debug(folder, 'always')
    await terminal.until('/ # ')
    terminal.type('cat /made\n')
    await terminal.until('cat /made')
    await terminal.until('other')
  }
  await audit(daemon)
})

test('a step that failed left what the shell sees', async () => {
  const folder = makeContext(daemon, [
    ...['FROM busybox', 'ENV WHO=me', 'WORKDIR /work', 'RUN echo there >/before'],
    ...['RUN echo late >/left; exit 7', 'RUN true'],
  ])
  {
    await using terminal = debug(folder, 'error')
    await terminal.until('exit code: 7')
    await terminal.until('/ # ')
    terminal.type('cat /before /left; echo "of $WHO"; exit\n')
    // What was typed is shown, too.
    await terminal.until('exit')
    for (const text of ['there', 'late', 'of me', '(buildx) ']) await terminal.until(text)
    terminal.type('exit\r')
  }
  await audit(daemon)
})
