import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import type { Outcome } from './harness/shell.ts'

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
