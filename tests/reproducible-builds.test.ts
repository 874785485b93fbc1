import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { type BuildCase, readCases, writeContext } from '../parity/buildCases.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'

/** The same Dockerfiles, built by two daemons that share nothing, give the same digests. */

let daemons: TestDaemon[]
before(async () => {
  daemons = await Promise.all([startDaemon(), startDaemon()])
  for (const daemon of daemons) await daemon.loadBusybox()
})
after(async () => {
  for (const daemon of daemons) await daemon.close()
})

const epoch = '1700000000'

/** A context of its own for each: its files are as new as its daemon. */
const contextFor = (daemon: TestDaemon, { dockerfile }: BuildCase, number: number): string => {
  const folder = path.join(daemon.base, `reproduced-${number}`)
  mkdirSync(folder)
  writeContext(folder)
  writeFileSync(path.join(folder, 'Dockerfile'), dockerfile)
  return folder
}

const built = async (daemon: TestDaemon, build: BuildCase, number: number): Promise<string> => {
  const name = `reproduced:${number}`
  const folder = contextFor(daemon, build, number)
  const { code, stderr } = await daemon.docker([
    ...['buildx', 'build', '--build-arg', `SOURCE_DATE_EPOCH=${epoch}`, ...build.options],
    ...['--output', `type=image,name=${name},rewrite-timestamp=true`, folder],
  ])
  assert.equal(code, 0, stderr)
  return await daemon.mustDocker(['inspect', '-f', '{{.Id}} {{.Created}} {{json .RootFS.Layers}}', name])
}

/** Of the comparison with BuildKit, those that give an image. */
const names = [
  ...[
    'from scratch with a file',
    'env and variables',
    'labels',
    'labels of the client',
    'workdir',
    'user forms',
  ],
  ...['expose volume stopsignal', 'cmd and entrypoint, shell form', 'shell', 'healthcheck', 'onbuild', 'arg'],
  ...[
    'platform arguments',
    'escape',
    'several changes',
    'files of the base are changed',
    'nothing is changed',
  ],
  ...['heredoc', 'heredocs of copy', 'bind mount', 'bind mount of a stage', 'cache mount', 'copy all'],
  ...['copy several', 'copy over what is there', 'copy links', 'copy modes and owners', 'copy by link'],
  ...['copy from a stage', 'copy from an image', 'special bits', 'add an archive', 'hard links', 'times'],
]

const cases = new Map(readCases('').map(build => [build.name, build]))

for (const [number, name] of names.entries())
  test(`twice the same digest: ${name}`, async () => {
    const build = cases.get(name)
    assert.ok(build)
    const [one, two] = await Promise.all(daemons.map(daemon => built(daemon, build, number)))
    assert.equal(one, two)
    assert.match(one ?? '', /2023-11-14T22:13:20Z/)
  })
