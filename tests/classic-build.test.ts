import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { audit } from './harness/audit.ts'
import { makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must, type Outcome, run } from './harness/shell.ts'

/** `POST /build`: clients of the classic builder, whose builds are done by the same solver. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const context = (lines: string[], files?: Record<string, string>): string => makeContext(daemon, lines, files)

const build = (folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['build', ...options, folder], { env: { DOCKER_BUILDKIT: '0' } })

const uploads = (): string[] => {
  const folder = path.join(daemon.dataRoot, 'build', 'uploads')
  return existsSync(folder) ? readdirSync(folder) : []
}

test('steps are told one after another, and the second time they are cached', async () => {
  const folder = context(
    ['FROM busybox', 'ENV A=b', 'COPY . /app', 'RUN cat /app/file && echo said', 'CMD ["ls", "/app"]'],
    { file: 'content\n', left: 'x', '.dockerignore': 'left\n' },
  )
  const first = await build(folder, '-t', 'classic:1', '--build-arg', 'UNUSED=1', '--label', 'a=b')
  assert.equal(first.code, 0, first.stderr)
  const [, id = ''] = /Successfully built ([0-9a-f]{12})\n/.exec(first.stdout) ?? []
  assert.match(
    first.stdout,
    /Step 1\/5 : FROM busybox\n(.*\n)*Step 4\/5 : RUN cat \/app\/file && echo said\ncontent\nsaid\n(.*\n)*Step 5\/5 : CMD/,
  )
  assert.match(first.stdout, /Successfully tagged classic:1\n/)
  assert.match(
    await daemon.mustDocker(['inspect', '-f', '{{.Id}} {{.Config.Labels.a}}', 'classic:1']),
    new RegExp(`^sha256:${id}.* b$`),
  )
  assert.equal(await daemon.mustDocker(['run', '--rm', 'classic:1']), 'Dockerfile\nfile')
  const again = await build(folder, '-t', 'classic:2', '--label', 'a=b')
  assert.equal(again.stdout.match(/---> Using cache/g)?.length, 3)
  assert.match(again.stdout, new RegExp(`Successfully built ${id}`))
  const quiet = await build(folder, '-q', '--label', 'a=b')
  assert.match(quiet.stdout, new RegExp(`^sha256:${id}[0-9a-f]+\\n$`))
  assert.deepEqual(uploads(), [])
})

test('the same step is cached whichever way the build comes', async () => {
  const folder = context(['FROM busybox', 'RUN echo both >/both'])
  await daemon.mustDocker(['build', '-q', folder])
  assert.match((await build(folder)).stdout, /RUN echo both >\/both\n ---> Using cache/)
})

test('what fails is told in the classic builder’s words, and leaves nothing', async () => {
  const failing = await build(context(['FROM busybox', 'RUN echo before; exit 3', 'RUN echo never']))
  assert.equal(failing.code, 3)
  assert.match(failing.stderr, /The command '\/bin\/sh -c echo before; exit 3' returned a non-zero code: 3/)
  assert.match(failing.stdout, /before\n$/)
  assert.match((await build(context(['FROM busybox', 'RUM x']))).stderr, /line 2: unknown instruction: RUM/)
  assert.match((await build(context(['FROM busybox', 'COPY no /']))).stderr, /"\/no": not found/)
  assert.deepEqual(uploads(), [])
  const refused = await daemon.api('POST', '/build?outputs=x')
  assert.equal(refused.status, 501)
  assert.match(refused.text, /outputs of a classic build/)
  assert.equal((await daemon.api('POST', '/build?buildargs=x')).status, 400)
})

test('a target, an archive on standard input, the Dockerfile of another name', async () => {
  const folder = context(['FROM busybox AS one', 'RUN echo 1 >/n', 'FROM one', 'RUN false'], {
    'other/Named': 'FROM busybox\nCOPY Named /\n',
  })
  assert.equal((await build(folder, '--target', 'one', '-t', 'target')).code, 0)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'target', 'cat', '/n']), '1')
  const archive = path.join(daemon.base, 'context.tar.gz')
  await must(['tar', '-czf', archive, '-C', path.join(folder, 'other'), '.'])
  const piped = await run(['sh', '-c', `"${daemon.client}" build -q -f Named -t piped - <"${archive}"`], {
    env: { ...daemon.dockerEnv, DOCKER_BUILDKIT: '0' },
  })
  assert.equal(piped.code, 0, piped.stderr)
  assert.match(await daemon.mustDocker(['run', '--rm', 'piped', 'cat', '/Named']), /FROM busybox/)
})

test('docker-py builds', async () => {
  const folder = context(['FROM busybox', 'RUN echo from python'])
  const script = [
    'import docker, sys',
    'client = docker.DockerClient(base_url=sys.argv[1])',
    'image, lines = client.images.build(path=sys.argv[2], tag="python:built", rm=True)',
    'print(image.tags, any("from python" in line.get("stream", "") for line in lines))',
    'try:',
    '    client.images.build(path=sys.argv[3])',
    'except docker.errors.BuildError as error:',
    '    print(error.msg)',
  ].join('\n')
  const failing = context(['FROM busybox', 'RUN false'])
  const host = daemon.dockerEnv['DOCKER_HOST'] ?? ''
  assert.equal(
    await must(['python3', '-c', script, host, folder, failing]),
    "['python:built'] True\nThe command '/bin/sh -c false' returned a non-zero code: 1",
  )
  await audit(daemon, 'classic builds')
})
