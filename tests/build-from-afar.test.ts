import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must, type Outcome, until } from './harness/shell.ts'

/** Builds of the real client whose context is an address, and what is told of why steps run. */

let daemon: TestDaemon
let base: string
before(async () => {
  base = mkdtempSync(path.join(tmpdir(), 'berth-afar-'))
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(base, { recursive: true })
})

const write = (folder: string, files: Record<string, string>): void => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), content)
  }
}

const build = (...words: string[]): Promise<Outcome> => daemon.docker(['build', '--progress=plain', ...words])

const mustBuild = async (...words: string[]): Promise<string> => {
  const outcome = await build(...words)
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome.stderr
}

const idOf = (image: string): Promise<string> => daemon.mustDocker(['inspect', '-f', '{{.Id}}', image])

test('a build tells why its steps are not cached, where it is asked to', async () => {
  const folder = path.join(base, 'explained')
  const dockerfile = ['FROM busybox', 'ARG VERSION=0', 'COPY file /', 'RUN echo "made $VERSION"', '']
  write(folder, { Dockerfile: dockerfile.join('\n'), file: 'one' })
  const explain = ['--build-arg', 'BERTH_EXPLAIN=1']
  const version = (text: string): string[] => ['--build-arg', `VERSION=${text}`]
  const first = await mustBuild(...explain, ...version('1'), '-t', 'explained', folder)
  assert.match(first, /not cached: nothing like it was made before\n.*\d made 1\n/)
  const id = await idOf('explained')
  // Neither a step nor the image knows of it.
  const quiet = await mustBuild(...version('1'), '-t', 'quiet', folder)
  assert.doesNotMatch(quiet, /not cached/)
  assert.equal(quiet.match(/CACHED/g)?.length, 3)
  assert.equal(await idOf('quiet'), id)
  assert.match(
    await mustBuild(...explain, ...version('2'), folder),
    /not cached: the build argument VERSION was 1 and is 2\n.*\d made 2\n/,
  )
  write(folder, { file: 'two' })
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

/** A server in the daemon's network, until it is disposed of; `check` succeeds once it serves. */
const serving = async (command: string[], check: string[]): Promise<AsyncDisposable> => {
  const server = spawn('nsenter', [`--net=${daemon.namespace}`, ...command], { stdio: 'ignore' })
  await until(`${command[0]} serves`, async () => (await daemon.onHost(check)).code === 0)
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise(resolve => server.once('close', resolve))
      server.kill('SIGKILL')
      await ended
    },
  }
}

/** A repository in the base folder, with a commit of these files. */
const repositoryOf = async (name: string, files: Record<string, string>) => {
  const folder = path.join(base, name)
  const git = (...words: string[]): Promise<string> =>
    must(['git', '-C', folder, '-c', 'user.name=t', '-c', 'user.email=t@t', ...words])
  const commit = async (changed: Record<string, string>): Promise<void> => {
    write(folder, changed)
    await git('add', '.')
    await git('commit', '-qm', 'one more')
  }
  mkdirSync(folder)
  await git('init', '-q', '-b', 'main')
  await commit(files)
  return { folder, git, commit }
}

/** By its own name: `git daemon` would start it as a child, which outlives its end. */
const servingRepositories = async (): Promise<AsyncDisposable> =>
  serving(
    [
      `${await must(['git', '--exec-path'])}/git-daemon`,
      '--export-all',
      `--base-path=${base}`,
      '--listen=127.0.0.1',
      '--port=9418',
      base,
    ],
    ['git', 'ls-remote', 'git://127.0.0.1/repository'],
  )

const inImage = (image: string, script: string): Promise<string> =>
  daemon.mustDocker(['run', '--rm', image, 'sh', '-c', script])

const curl = async (...words: string[]): Promise<string> =>
  await must(['curl', '-sS', '--unix-socket', daemon.socket, ...words])

test('a repository is a context: its branch, its folder, its Dockerfile', async () => {
  const dockerfile = 'FROM busybox\nCOPY . /app\nRUN cat /app/file\n'
  const { folder, git, commit } = await repositoryOf('repository', {
    Dockerfile: dockerfile,
    file: 'first\n',
    'inner/Dockerfile': dockerfile,
    'inner/file': 'within\n',
  })
  symlinkSync('/etc/hostname', path.join(folder, 'escaping'))
  await commit({})
  await git('checkout', '-qb', 'other')
  await commit({ file: 'of the branch\n' })
  await git('checkout', '-q', 'main')
  await using _server = await servingRepositories()
  const address = 'git://127.0.0.1/repository'
  const first = await mustBuild('-t', 'cloned', `${address}#main`)
  assert.match(first, /\[internal\] load git source git:\/\/127\.0\.0\.1\/repository#main/)
  assert.match(first, /\d first\n/)
  assert.equal(await inImage('cloned', 'cd /app; echo $(ls -A)'), 'Dockerfile escaping file inner')
  assert.match(await mustBuild(`${address}#main`), /RUN cat \/app\/file\n#\d+ CACHED/)
  assert.match(await mustBuild(`${address}#other`), /\d of the branch\n/)
  assert.match(await mustBuild(`${address}#main:inner`), /\d within\n/)
  await commit({ file: 'second\n' })
  assert.match(await mustBuild(`${address}#main`), /\d second\n/)
  // Of the daemon's own files nothing is read.
  assert.match((await build('-f', 'escaping', address)).stderr, /open escaping: no such file or directory/)
  const apart = path.join(base, 'apart')
  write(apart, { Dockerfile: 'FROM busybox\nCOPY file /\nRUN echo apart; cat /file\n' })
  assert.match(await mustBuild('-f', path.join(apart, 'Dockerfile'), address), /\d apart\n.* second\n/)
  const own = path.join(base, 'own')
  write(own, { Dockerfile: 'FROM busybox\nCOPY --from=more file /\nRUN cat /file\n' })
  assert.match(await mustBuild('--build-context', `more=${address}#other`, own), /\d of the branch\n/)
  const lines = await curl(
    '-XPOST',
    `http://d/build?t=classic&remote=${encodeURIComponent(`${address}#main:inner`)}`,
  )
  assert.match(lines, /Step 3\/3 : RUN cat[\s\S]*Using cache[\s\S]*Successfully tagged classic:latest/)
  assert.match(await curl('-XPOST', 'http://d/build?remote=nothing'), /could not be recognized as URL/)
})

test('a download is a context: an archive, or the Dockerfile alone', async () => {
  const folder = path.join(base, 'served')
  write(folder, {
    'in/Dockerfile': 'FROM busybox\nCOPY file /\nRUN cat /file\n',
    'in/file': 'packed\n',
    alone: 'FROM busybox\nRUN echo alone\n',
  })
  await must(['tar', '-czf', path.join(folder, 'context.tar.gz'), '-C', path.join(folder, 'in'), '.'])
  await must(['tar', '-cf', path.join(folder, 'context.tar'), '-C', path.join(folder, 'in'), '.'])
  await using _server = await serving(
    ['python3', '-m', 'http.server', '-b', '127.0.0.1', '-d', folder, '8124'],
    ['curl', '-sf', 'http://127.0.0.1:8124/alone'],
  )
  const address = 'http://127.0.0.1:8124'
  assert.match(await mustBuild(`${address}/context.tar.gz`), /\d packed\n/)
  assert.match(await mustBuild(`${address}/context.tar`), /RUN cat \/file\n#\d+ CACHED/)
  assert.match(await mustBuild(`${address}/alone`), /\d alone\n/)
  assert.match((await build(`${address}/none`)).stderr, /invalid response status 404/)
  const own = path.join(base, 'own-of-download')
  write(own, { Dockerfile: 'FROM busybox\nCOPY --from=more context /said\nRUN cat /said\n' })
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
