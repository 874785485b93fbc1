import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { holdsUnrelatedTrees } from '../src/linux/unrelatedTrees.ts'
import { audit } from './harness/audit.ts'
import {
  freshPath,
  idOfImage,
  inImage,
  makeContext,
  servedRepository,
  serving,
  servingFiles,
  writeFiles,
} from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must, type Outcome, until } from './harness/shell.ts'

/** `docker build` of the real client, by BuildKit's protocol. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const context = (lines: string[], files?: Record<string, string>): string => makeContext(daemon, lines, files)

const build = (folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['build', '--progress=plain', ...options, folder])

const mustBuild = async (folder: string, ...options: string[]): Promise<string> => {
  const outcome = await build(folder, ...options)
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome.stderr
}

test('files, processes and settings make an image, which the second time is the same', async () => {
  const folder = context(
    [
      'FROM busybox',
      'ARG WHO=nobody',
      'ENV GREETING=hello',
      'WORKDIR /work',
      'COPY --chown=1000:1000 --chmod=640 file .',
      'COPY folder /folder/',
      'RUN echo "$GREETING $WHO" >said && echo told >&2',
      'RUN ["sh", "-c", "id -u >who"]',
      'LABEL made=here',
      'USER 1000',
      'CMD ["cat", "said"]',
    ],
    { file: 'content', 'folder/in/deep': 'deep', ignored: 'x', '.dockerignore': 'ignored\n' },
  )
  const output = await mustBuild(folder, '-t', 'whole:1', '-t', 'whole:2', '--build-arg', 'WHO=world')
  assert.match(output, /\[5\/6\] RUN echo "hello world" >said/)
  assert.match(output, /\d told/)
  assert.match(output, /naming to docker\.io\/library\/whole:2/)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'whole:1']), 'hello world')
  assert.equal(
    await inImage(
      daemon,
      'whole:2',
      'stat -c "%u:%g %a" file; cat file /folder/in/deep; cat who; pwd; echo $(ls -A /); id -u',
    ),
    '1000:1000 640\ncontentdeep0\n/work\n.dockerenv bin dev etc folder home proc root sys tmp var work\n1000',
  )
  const id = await idOfImage(daemon, 'whole:1')
  const again = await mustBuild(folder, '-t', 'whole:1', '--build-arg', 'WHO=world')
  assert.equal(await idOfImage(daemon, 'whole:1'), id)
  assert.equal(again.match(/CACHED/g)?.length, 6)
  const other = await mustBuild(folder, '-t', 'other', '--build-arg', 'WHO=us')
  assert.equal(other.match(/CACHED/g)?.length, 4)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'other']), 'hello us')
  await mustBuild(folder, '--no-cache', '-t', 'anew', '--build-arg', 'WHO=world')
  assert.notEqual(await idOfImage(daemon, 'anew'), id)
})

test('trees of layers, contexts and volumes are spread over the disk, where it is ext4', async () => {
  const isExt4 = (await must(['stat', '-f', '-c', '%T', daemon.dataRoot])).includes('ext')
  await mustBuild(context(['FROM busybox', 'COPY . /here'], { file: 'text' }))
  for (const folder of ['layers', 'snapshots', 'uppers', 'volumes', 'build/contexts'])
    assert.equal(holdsUnrelatedTrees(path.join(daemon.dataRoot, folder)), isExt4, folder)
})

test('only the stages that a target needs are built, and files come from others', async () => {
  const folder = context([
    'ARG BASE=busybox',
    'FROM $BASE AS one',
    'RUN echo one >/one',
    'FROM busybox AS broken',
    'RUN false',
    'FROM busybox AS two',
    'COPY --from=one /one /two',
    'COPY --link --from=busybox /bin/sh /linked',
    'RUN test -x /linked && cat /two',
    'FROM broken',
  ])
  await mustBuild(folder, '--target', 'two', '-t', 'two')
  assert.equal(await inImage(daemon, 'two', 'cat /two; cmp /linked /bin/sh && echo same'), 'one\nsame')
  assert.match(
    (await build(folder)).stderr,
    /process "\/bin\/sh -c false" did not complete successfully: exit code: 1/,
  )
})

test('an archive or a Dockerfile comes by standard input', async () => {
  const folder = context(['FROM busybox', 'COPY . /all'], {
    'in/file': 'x',
    left: '',
    '.dockerignore': 'left',
  })
  const archive = path.join(daemon.base, 'context.tar')
  await must(['tar', '-cf', archive, '-C', folder, '.'])
  const input = (file: string): { input: Buffer } => ({ input: readFileSync(file) })
  const piped = await daemon.docker(['build', '-q', '-t', 'piped', '-'], input(archive))
  assert.equal(piped.code, 0, piped.stderr)
  assert.equal(
    await inImage(daemon, 'piped', 'cd /all; find . -type f | sort'),
    './.dockerignore\n./Dockerfile\n./in/file',
  )
  const alone = path.join(context(['FROM busybox', 'RUN echo alone >/alone']), 'Dockerfile')
  assert.equal((await daemon.docker(['build', '-q', '-t', 'alone', '-'], input(alone))).code, 0)
  assert.equal(await inImage(daemon, 'alone', 'cat /alone'), 'alone')
  assert.deepEqual(readdirSync(path.join(daemon.dataRoot, 'build', 'uploads')), [])
})

test('other folders and images stand for names', async () => {
  const folder = context([
    'FROM busybox AS base',
    'FROM base',
    'COPY --from=extra given /given',
    'RUN cat /given',
  ])
  const extra = context([], { given: 'from elsewhere' })
  await mustBuild(folder, '-t', 'named', '--build-context', `extra=${extra}`)
  assert.equal(await inImage(daemon, 'named', 'cat /given'), 'from elsewhere')
})

test('secrets are seen by their step, and are in nothing that stays', async () => {
  const folder = context([
    'FROM busybox',
    'RUN --mount=type=secret,id=key,mode=0440,gid=7 stat -c "%u:%g %a" /run/secrets/key; cat /run/secrets/key | wc -c',
    'RUN --mount=type=secret,id=key,env=KEY test ${#KEY} = 14',
    'RUN ls -A /run 2>&1 || true',
  ])
  const file = path.join(daemon.base, 'secret')
  writeFileSync(file, 'topsecret-1234')
  const output = await mustBuild(folder, '-t', 'quiet', '--secret', `id=key,src=${file}`)
  assert.match(output, /0:7 440/)
  assert.match(output, / 14$/m)
  const missing =
    'RUN --mount=type=secret,id=none --mount=type=secret,id=none,env=NONE ls /run/secrets 2>&1; echo "<$NONE>"'
  assert.match(await mustBuild(context(['FROM busybox', missing])), /\/run\/secrets: No such[\s\S]*<>/)
  const required = context(['FROM busybox', 'RUN --mount=type=secret,id=key,required true'])
  assert.match((await build(required)).stderr, /secret key: not found/)
  assert.doesNotMatch(await daemon.mustDocker(['history', '--no-trunc', 'quiet']), /topsecret/)
  assert.equal(
    await inImage(daemon, 'quiet', 'test -e /run && ls -A /run; grep -r topsecret /etc /root || echo none'),
    'none',
  )
})

test('an agent is reached by its socket', async () => {
  const socket = path.join(daemon.base, 'agent')
  // SSH_AGENT_FAILURE to whatever is asked, as an agent without keys may answer.
  const server = createServer(client => client.on('data', () => client.write(Buffer.from([0, 0, 0, 1, 5]))))
  await new Promise<void>(resolve => server.listen(socket, resolve))
  try {
    const folder = context([
      'FROM busybox',
      'RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && printf "\\0\\0\\0\\1\\13" | nc local:$SSH_AUTH_SOCK 2>/dev/null | od -An -tx1; stat -c %F $SSH_AUTH_SOCK',
    ])
    assert.match(await mustBuild(folder, '--ssh', `default=${socket}`), /socket/)
    const required = context(['FROM busybox', 'RUN --mount=type=ssh,required true'])
    assert.match((await build(required)).stderr, /no SSH key "default" forwarded from the client/)
  } finally {
    server.close()
  }
})

test('what is kept in a cache mount is there in the next build, and in no image', async () => {
  const steps = (text: string): string[] => [
    'FROM busybox',
    `RUN --mount=type=cache,target=/var/kept/deep echo ${text} >>/var/kept/deep/log; cat /var/kept/deep/log`,
  ]
  await mustBuild(context(steps('first')), '-t', 'cached')
  const output = await mustBuild(context(steps('second')), '-t', 'cached')
  assert.match(output, / first\n.* second\n/)
  assert.equal(await inImage(daemon, 'cached', 'ls -A /var 2>&1 | grep -c kept || true'), '0')
})

test('mounts of files, of other stages and of memory leave nothing behind', async () => {
  const folder = context(
    [
      'FROM busybox AS other',
      'RUN mkdir /made && echo made >/made/file',
      'FROM busybox',
      'RUN --mount=target=/here --mount=from=other,source=/made,target=/there,rw --mount=type=tmpfs,target=/memory,size=1m \\',
      '  cat /here/file /there/file; echo x >/there/new && cat /there/new; touch /here/no 2>&1; df /memory | tail -1',
      'RUN <<EOF',
      'echo one',
      'echo two',
      'EOF',
    ],
    { file: 'context\n' },
  )
  const output = await mustBuild(folder, '-t', 'mounted')
  for (const words of [/ context\n.* made\n.* x\n/, /Read-only file system/, /\d one\n.*\d two/])
    assert.match(output, words)
  assert.equal(await inImage(daemon, 'mounted', 'ls -d /here /there /memory 2>/dev/null | wc -l'), '0')
})

test('what is wrong is told with its line', async () => {
  const wrong = async (lines: string[], files: Record<string, string> = {}): Promise<string> => {
    const { code, stderr } = await build(context(lines, files))
    assert.notEqual(code, 0)
    return stderr
  }
  const failing = await wrong(['FROM busybox', 'RUN echo said; exit 7', 'RUN echo never'])
  assert.match(
    failing,
    /process "\/bin\/sh -c echo said; exit 7" did not complete successfully: exit code: 7/,
  )
  assert.match(failing, /Dockerfile:2\n-+\n(.*\n)*.*2 \| >>> RUN echo said; exit 7/)
  assert.match(failing, /said/)
  assert.doesNotMatch(failing, /never\n.*DONE/)
  assert.match(await wrong(['FROM busybox', 'RUM true']), /Dockerfile:2[\s\S]*unknown instruction: RUM/)
  assert.match(await wrong(['FROM busybox', 'COPY nothing /']), /"\/nothing": not found/)
  assert.match(await wrong(['FROM busybox', 'RUN ["/no/such"]']), /\/no\/such.* no such file or directory/)
  assert.match(await wrong(['FROM no-such-image']), /no-such-image/)
  const folder = path.join(daemon.base, 'empty')
  mkdirSync(folder, { recursive: true })
  assert.match(
    (await build(folder)).stderr,
    /failed to read dockerfile: open Dockerfile: no such file or directory/,
  )
  assert.match(
    await wrong(['# syntax=example.com/other', 'FROM busybox']),
    /the frontend example\.com\/other/,
  )
})

test('networks as they are asked for, the host’s only where that is allowed', async () => {
  const links = 'ls /sys/class/net | tr "\\n" " "'
  const none = context(['FROM busybox', `RUN --network=none ${links}`])
  assert.match(await mustBuild(none), /\d lo\s*\n/)
  const usual = context(['FROM busybox', `RUN ${links}; cat /etc/hosts`])
  const output = await mustBuild(usual)
  assert.match(output, /eth0 lo/)
  assert.match(output, /buildkitsandbox/)
  const host = context(['FROM busybox', `RUN --network=host ${links}`])
  assert.match((await build(host)).stderr, /network\.host is not allowed/)
  await mustBuild(host, '--allow', 'network.host')
  assert.match(
    (await build(host, '--allow', 'security.insecure')).stderr,
    /security\.insecure is not allowed/,
  )
})

test('downloads are added, and made anew when they are something else', async () => {
  const folder = freshPath(daemon, 'served')
  writeFiles(folder, { file: 'first\n' })
  await using _server = await servingFiles(daemon, folder, 'file')
  const steps = (...flags: string[]): string =>
    context([
      'FROM busybox',
      `ADD ${flags.join(' ')} http://127.0.0.1:8123/file /`,
      'RUN cat /file; stat -c %a /file',
    ])
  assert.match(await mustBuild(steps('--chmod=640')), /\d first\n.* 640/)
  const again = steps()
  assert.match(await mustBuild(again), /\d first\n.* 600/)
  assert.match(await mustBuild(again), /RUN cat \/file; stat -c %a \/file\n#\d+ CACHED/)
  writeFiles(folder, { file: 'second\n' })
  assert.match(await mustBuild(again), /\d second/)
  const wrong = `--checksum=sha256:${'0'.repeat(64)}`
  assert.match((await build(steps(wrong))).stderr, /digest mismatch .*expected: sha256:0+/)
  const missing = context(['FROM busybox', 'ADD http://127.0.0.1:8123/none /'])
  assert.match((await build(missing)).stderr, /cannot download http:.*\/none: .* 404 Not Found/)
})

test('what a server says is the same is not downloaded again, by the next daemon neither', async () => {
  const sent = freshPath(daemon, 'sent')
  const script = `
    require('http').createServer((req, res) => {
      res.setHeader('etag', '"one"')
      if (req.headers['if-none-match'] === '"one"') return res.writeHead(304).end()
      require('fs').appendFileSync('${sent}', req.method + ' ' + req.url + '\\n')
      res.end('tagged')
    }).listen(8124, '127.0.0.1')`
  const check = ['curl', '-sf', 'http://127.0.0.1:8124/check']
  await using _server = await serving(daemon, [process.execPath, '-e', script], check)
  const folder = context(['FROM busybox', 'ADD http://127.0.0.1:8124/file /', 'RUN cat /file'])
  assert.match(await mustBuild(folder), /\d tagged/)
  await daemon.kill()
  await daemon.start()
  assert.match(await mustBuild(folder), /RUN cat \/file\n#\d+ CACHED/)
  assert.equal(readFileSync(sent, 'utf8').match(/GET \/file/g)?.length, 1)
})

test('a repository is added as it is at a branch', async () => {
  await using repository = await servedRepository(daemon, { tracked: 'first\n' })
  const folder = context([
    'FROM busybox',
    'ADD git://127.0.0.1/repository#main /src',
    'RUN cat /src/tracked; ls -A /src',
  ])
  assert.match(await mustBuild(folder), /\d first\n.* tracked\n#\d+ DONE/)
  assert.match(await mustBuild(folder), /ls -A \/src\n#\d+ CACHED/)
  await repository.commit({ tracked: 'second\n' })
  assert.match(await mustBuild(folder), /\d second/)
})

test('a build that is given up stops its process, and leaves nothing', async () => {
  const folder = context(['FROM busybox', 'RUN echo begun; sleep 1000'])
  const client = spawn(daemon.client, ['build', '--progress=plain', folder], {
    env: { ...process.env, ...daemon.dockerEnv },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let told = ''
  client.stderr?.on('data', (bytes: Buffer) => {
    told += bytes.toString()
  })
  await until('its process runs', () => /\d begun/.test(told))
  const ended = new Promise(resolve => client.once('close', resolve))
  client.kill('SIGINT')
  assert.notEqual(await ended, 0)
  await until('nothing of it is under way', async () => {
    const listed = await daemon.json<unknown[]>('GET', '/berth/v1/operations')
    return listed.length === 0
  })
  await audit(daemon, 'a build that was given up')
})

test('two builds at once do a step of both once', async () => {
  const folder = context([
    'FROM busybox',
    'RUN --mount=type=cache,target=/log echo ran >>/log/runs; sleep 2; cat /log/runs | wc -l >/runs',
    'RUN cat /runs',
  ])
  const [one, other] = await Promise.all([mustBuild(folder, '-t', 'once'), mustBuild(folder, '-t', 'twice')])
  assert.equal(await inImage(daemon, 'once', 'cat /runs'), '1')
  assert.equal(await idOfImage(daemon, 'once'), await idOfImage(daemon, 'twice'))
  assert.ok(one.includes('DONE') && other.includes('DONE'))
})

test('what builds leave is listed, counted and pruned, but not what images have', async () => {
  await daemon.mustDocker(['builder', 'prune', '-af'])
  assert.match(await daemon.mustDocker(['buildx', 'du']), /Total:\s+0B/)
  const folder = context(
    ['FROM busybox', 'COPY file /', 'RUN --mount=type=cache,target=/kept echo x >/kept/x; echo y >/y'],
    { file: 'content' },
  )
  await mustBuild(folder, '-t', 'pruned')
  const kinds = await daemon.mustDocker(['buildx', 'du', '--verbose'])
  for (const words of [
    /Type:\s+regular/,
    /Type:\s+source\.local/,
    /Type:\s+exec\.cachemount/,
    /mount \/ from exec/,
  ])
    assert.match(kinds, words)
  assert.match(await daemon.mustDocker(['system', 'df']), /Build Cache\s+[1-9]/)
  await daemon.mustDocker(['buildx', 'prune', '-f', '--filter', 'type=exec.cachemount'])
  assert.doesNotMatch(await daemon.mustDocker(['buildx', 'du', '--verbose']), /exec\.cachemount/)
  await daemon.mustDocker(['builder', 'prune', '-f'])
  // What an image has is shared: nothing would be freed.
  assert.match(await mustBuild(folder, '-t', 'pruned'), /CACHED/)
  await daemon.mustDocker(['builder', 'prune', '-af'])
  assert.equal(await inImage(daemon, 'pruned', 'cat /file /y'), 'contenty')
  assert.equal((await mustBuild(folder)).match(/CACHED/g)?.length, 1)
  await daemon.mustDocker(['rmi', '-f', 'pruned'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await audit(daemon, 'all is pruned')
})
