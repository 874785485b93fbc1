import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { freshPath, inImage, writeFiles } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { remappedUsers, remapping } from './harness/remappedUsers.ts'
import type { Outcome } from './harness/shell.ts'

/** `docker compose build` and `up --build`, and builds of a daemon whose containers get user namespaces. */

const users = remappedUsers()
let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon(remapping(users))
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  users[Symbol.dispose]()
})

const must = ({ code, stdout, stderr }: Outcome): string => {
  assert.equal(code, 0, stderr)
  return `${stdout}${stderr}`
}

const dockerfile = `FROM busybox AS base
RUN --mount=type=cache,target=/runs echo ran >>/runs/log; sleep 1; wc -l </runs/log >/count
FROM base AS web
ARG GREETING=none
RUN --mount=type=secret,id=key echo "$GREETING $(wc -c </run/secrets/key)" >/said
CMD ["sh", "-c", "cat /said; exec sleep 1000"]
FROM base AS worker
COPY given /given
CMD ["sleep", "1000"]
`

const project = `name: built
services:
  web:
    build:
      context: .
      target: web
      args: {GREETING: hello}
      secrets: [key]
    init: true
  worker:
    build: {context: ., target: worker}
    image: worker:named
    init: true
secrets:
  key: {file: ./key}
`

test('compose builds its services, whose common stage is made once', async () => {
  const folder = freshPath(daemon, 'project')
  writeFiles(folder, {
    Dockerfile: dockerfile,
    'compose.yaml': project,
    key: 'topsecret-1234',
    given: 'one\n',
  })
  const compose = async (...words: string[]): Promise<string> =>
    must(await daemon.docker(['compose', '-f', path.join(folder, 'compose.yaml'), ...words]))
  await compose('build')
  assert.equal(await inImage(daemon, 'built-web', 'cat /said /count'), 'hello 14\n1')
  assert.equal(await inImage(daemon, 'worker:named', 'cat /given /count'), 'one\n1')
  const labels = await daemon.mustDocker(['inspect', '-f', '{{json .Config}}', 'built-web'])
  assert.doesNotMatch(labels, /topsecret/)
  await compose('up', '-d', '--build')
  assert.match(await compose('logs', '--no-color', 'web'), /web-1\s+\| hello 14/)
  const before = await compose('ps', '-q', 'web')
  writeFileSync(path.join(folder, 'given'), 'two\n')
  await compose('up', '-d', '--build')
  assert.equal((await compose('exec', '-T', 'worker', 'cat', '/given', '/count')).trim(), 'two\n1')
  assert.equal(await compose('ps', '-q', 'web'), before)
  await compose('down', '--rmi', 'all')
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await audit(daemon, 'a project that was built')
})

test('owners are those that are seen from inside', async () => {
  const lines = [
    'FROM busybox',
    'COPY file /plain',
    'COPY --chown=1500:7 file /given',
    'WORKDIR /made',
    'RUN touch /mine; chown 2000:3000 /made; stat -c "%n %u:%g" /plain /given /mine /made',
    'RUN --mount=type=cache,target=/kept,uid=5,gid=6,mode=0750 stat -c "%n %u:%g %a" /kept; echo kept >/kept/file; stat -c "%n %u:%g" /kept/file',
    'USER 1500:7',
    'RUN echo more >>/given; id -u; head -1 /proc/self/uid_map',
    '',
  ]
  const folder = freshPath(daemon, 'owners')
  writeFiles(folder, { Dockerfile: lines.join('\n'), file: 'content\n' })
  const output = must(await daemon.docker(['build', '--progress=plain', '-t', 'owners', folder]))
  for (const seen of [
    /\/plain 0:0\n.*\/given 1500:7\n.*\/mine 0:0\n.*\/made 2000:3000\n/,
    /\/kept 5:6 750\n.*\/kept\/file 0:0\n/,
    /\d 1500\n.* 0 +200000 +1000\n/,
  ])
    assert.match(output, seen)
  const owners = 'stat -c "%n %u:%g" /plain /given /mine /made /bin; cat /given'
  const wanted = '/plain 0:0\n/given 1500:7\n/mine 0:0\n/made 2000:3000\n/bin 0:0\ncontent\nmore'
  assert.equal(await inImage(daemon, 'owners', owners), wanted)
  // What leaves the daemon has them, too: another one, or none at all, could load it.
  const archive = path.join(daemon.base, 'owners.tar')
  await daemon.mustDocker(['save', '-o', archive, 'owners'])
  await daemon.mustDocker(['rmi', '-f', 'owners'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await daemon.mustDocker(['load', '-i', archive])
  assert.equal(await inImage(daemon, 'owners', owners), wanted)
  await daemon.mustDocker(['rmi', '-f', 'owners'])
  await audit(daemon, 'a build with owners')
})
