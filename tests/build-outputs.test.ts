import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import type { Outcome } from './harness/shell.ts'

/** What builds of the real client give besides images: what they tell, answers to questions, files, archives. */

let daemon: TestDaemon
let base: string
before(async () => {
  base = mkdtempSync(path.join(tmpdir(), 'berth-outputs-'))
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(async () => {
  await daemon.close()
  rmSync(base, { recursive: true })
})

let count = 0

/** A path that nothing has yet. */
const fresh = (name: string): string => path.join(base, `${name}-${count++}`)

/** A folder with these files; `Dockerfile` as lines. */
const context = (lines: string[], files: Record<string, string> = {}): string => {
  const folder = fresh('context')
  mkdirSync(folder)
  for (const [name, content] of Object.entries({ Dockerfile: `${lines.join('\n')}\n`, ...files })) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), content)
  }
  return folder
}

const build = (folder: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['buildx', 'build', '--progress=plain', ...options, folder])

const mustBuild = async (folder: string, ...options: string[]): Promise<Outcome> => {
  const outcome = await build(folder, ...options)
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome
}

test('steps, output and warnings are told once each, with the lines that they are about', async () => {
  const folder = context(['FROM busybox as one', 'RUN echo said'])
  const { stderr } = await mustBuild(folder)
  assert.match(stderr, /\[2\/2\] RUN echo said\n/)
  assert.equal(stderr.match(/\d\.\d+ said$/gm)?.length, 1)
  assert.match(stderr, /1 warning found/)
  assert.match(stderr, /FromAsCasing: 'as' and 'FROM' keywords' casing do not match \(line 1\)/)
})
