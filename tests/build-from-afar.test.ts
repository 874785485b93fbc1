import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { idOfImage, inImage, servedRepository, servingFiles, writeFiles } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must, type Outcome } from './harness/shell.ts'

/** Builds of the real client whose context is an address, and what is told of why steps run. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const build = (...words: string[]): Promise<Outcome> => daemon.docker(['build', '--progress=plain', ...words])

const mustBuild = async (...words: string[]): Promise<string> => {
  const outcome = await build(...words)
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome.stderr
}

test('a build tells why its steps are not cached, where it is asked to', async () => {
  const folder = path.join(daemon.base, 'explained')
  const dockerfile = ['FROM busybox', 'ARG VERSION=0', 'COPY file /', 'RUN echo "made $VERSION"', '']
  writeFiles(folder, { Dockerfile: dockerfile.join('\n'), file: 'one' })
  const explain = ['--build-arg', 'BERTH_EXPLAIN=1']
  const version = (text: string): string[] => ['--build-arg', `VERSION=${text}`]
  const first = await mustBuild(...explain, ...version('1'), '-t', 'explained', folder)
  assert.match(first, /not cached: nothing like it was made before\n.*\d made 1\n/)
  const id = await idOfImage(daemon, 'explained')
  // Neither a step nor the image knows of it.
  const quiet = await mustBuild(...version('1'), '-t', 'quiet', folder)
  assert.doesNotMatch(quiet, /not cached/)
  assert.equal(quiet.match(/CACHED/g)?.length, 3)
  assert.equal(await idOfImage(daemon, 'quiet'), id)
  assert.match(
    await mustBuild(...explain, ...version('2'), folder),
    /not cached: the build argument VERSION was 1 and is 2\n.*\d made 2\n/,
  )
  writeFiles(folder, { file: 'two' })
  const changed = await mustBuild(...explain, ...version('2'), folder)
  assert.match(changed, /not cached: the file \/file changed \(before [0-9a-f]{16}, now [0-9a-f]{16}\)/)
  assert.match(changed, /not cached: the step before it \(\[2\/3\] COPY file \/\) gave something else/)
  assert.match(
    await mustBuild(...explain, ...version('2'), '--no-cache', folder),
    /not cached: it was to be made anew \(--no-cache/,
  )
  await daemon.mustDocker(['rmi', '-f', 'explained', 'quiet'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  assert.match(await mustBuild(...explain, ...version('2'), folder), /not cached: it was pruned/)
})

const curl = async (...words: string[]): Promise<string> =>
  await must(['curl', '-sS', '--unix-socket', daemon.socket, ...words])

test('a repository is a context: its branch, its folder, its Dockerfile', async () => {
  const dockerfile = 'FROM busybox\nCOPY . /app\nRUN cat /app/file\n'
  await using repository = await servedRepository(daemon, {
    Dockerfile: dockerfile,
    file: 'first\n',
    'inner/Dockerfile': dockerfile,
    'inner/file': 'within\n',
  })
  const { folder, git, commit } = repository
  symlinkSync('/etc/hostname', path.join(folder, 'escaping'))
  await commit({})
  await git('checkout', '-qb', 'other')
  await commit({ file: 'of the branch\n' })
  await git('checkout', '-q', 'main')
  const address = 'git://127.0.0.1/repository'
  const first = await mustBuild('-t', 'cloned', `${address}#main`)
  assert.match(first, /\[internal\] load git source git:\/\/127\.0\.0\.1\/repository#main/)
  assert.match(first, /\d first\n/)
  assert.equal(await inImage(daemon, 'cloned', 'cd /app; echo $(ls -A)'), 'Dockerfile escaping file inner')
  assert.match(await mustBuild(`${address}#main`), /RUN cat \/app\/file\n#\d+ CACHED/)
  assert.match(await mustBuild(`${address}#other`), /\d of the branch\n/)
  assert.match(await mustBuild(`${address}#main:inner`), /\d within\n/)
  await commit({ file: 'second\n' })
  assert.match(await mustBuild(`${address}#main`), /\d second\n/)
  // Of the daemon's own files nothing is read.
  assert.match((await build('-f', 'escaping', address)).stderr, /open escaping: no such file or directory/)
  const apart = path.join(daemon.base, 'apart')
  writeFiles(apart, { Dockerfile: 'FROM busybox\nCOPY file /\nRUN echo apart; cat /file\n' })
  assert.match(await mustBuild('-f', path.join(apart, 'Dockerfile'), address), /\d apart\n.* second\n/)
  const own = path.join(daemon.base, 'own')
  writeFiles(own, { Dockerfile: 'FROM busybox\nCOPY --from=more file /\nRUN cat /file\n' })
  assert.match(await mustBuild('--build-context', `more=${address}#other`, own), /\d of the branch\n/)
  const lines = await curl(
    '-XPOST',
    `http://d/build?t=classic&remote=${encodeURIComponent(`${address}#main:inner`)}`,
  )
  assert.match(lines, /Step 3\/3 : RUN cat[\s\S]*Using cache[\s\S]*Successfully tagged classic:latest/)
  assert.match(await curl('-XPOST', 'http://d/build?remote=nothing'), /could not be recognized as URL/)
})

test('a download is a context: an archive, or the Dockerfile alone', async () => {
  const folder = path.join(daemon.base, 'served')
  writeFiles(folder, {
    'in/Dockerfile': 'FROM busybox\nCOPY file /\nRUN cat /file\n',
    'in/file': 'packed\n',
    alone: 'FROM busybox\nRUN echo alone\n',
  })
  await must(['tar', '-czf', path.join(folder, 'context.tar.gz'), '-C', path.join(folder, 'in'), '.'])
  await must(['tar', '-cf', path.join(folder, 'context.tar'), '-C', path.join(folder, 'in'), '.'])
  await using _server = await servingFiles(daemon, folder, 'alone')
  const address = 'http://127.0.0.1:8123'
  assert.match(await mustBuild(`${address}/context.tar.gz`), /\d packed\n/)
  assert.match(await mustBuild(`${address}/context.tar`), /RUN cat \/file\n#\d+ CACHED/)
  assert.match(await mustBuild(`${address}/alone`), /\d alone\n/)
  assert.match((await build(`${address}/none`)).stderr, /cannot download .* 404 Not Found/)
  const own = path.join(daemon.base, 'own-of-download')
  writeFiles(own, { Dockerfile: 'FROM busybox\nCOPY --from=more context /said\nRUN cat /said\n' })
  assert.match(await mustBuild('--build-context', `more=${address}/alone`, own), /\d RUN echo alone\n/)
  const lines = await curl(
    '-XPOST',
    `http://d/build?remote=${encodeURIComponent(`${address}/context.tar.gz`)}`,
  )
  assert.match(lines, /Step 3\/3 : RUN cat[\s\S]*Successfully built/)
  await daemon.mustDocker(['image', 'prune', '-af'])
  await daemon.mustDocker(['builder', 'prune', '-af'])
  await audit(daemon, 'contexts that were fetched')
})

test('a build has the time of its context, or of what a stage fetches', async () => {
  await daemon.loadBusybox()
  const dockerfile = 'FROM busybox\nCOPY file /\n'
  await using repository = await servedRepository(daemon, { Dockerfile: dockerfile, file: 'first\n' })
  const committed = Number(await repository.git('show', '--no-patch', '--format=%ct'))
  const address = 'git://127.0.0.1/repository#main'
  const folder = path.join(daemon.base, 'served-with-a-time')
  writeFiles(folder, { file: 'text', 'in/Dockerfile': dockerfile, 'in/file': 'x' })
  await must(['tar', '-cf', path.join(folder, 'context.tar'), '-C', path.join(folder, 'in'), '.'])
  for (const name of ['file', 'context.tar'])
    await must(['touch', '-d', '@1200000000', path.join(folder, name)])
  await using _server = await servingFiles(daemon, folder, 'file')
  const staged = path.join(daemon.base, 'staged')
  writeFiles(staged, {
    Dockerfile: 'FROM scratch AS time\nADD http://127.0.0.1:8123/file /\nFROM busybox\nRUN echo > /made\n',
  })
  const built = async (epoch: string, context: string): Promise<number> => {
    await mustBuild('-t', 'dated', '--build-arg', `SOURCE_DATE_EPOCH=${epoch}`, context)
    return Date.parse(await daemon.mustDocker(['inspect', '-f', '{{.Created}}', 'dated'])) / 1000
  }
  assert.equal(await built('context', address), committed)
  assert.equal(await built('context', 'http://127.0.0.1:8123/context.tar'), 1_200_000_000)
  assert.equal(await built('time', staged), 1_200_000_000)
  assert.ok((await built('context', staged)) > 1_300_000_000)
  const wrong = await build('--build-arg', 'SOURCE_DATE_EPOCH=nothing', staged)
  assert.match(wrong.stderr, /invalid SOURCE_DATE_EPOCH: nothing/)
})
