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

/** What is asked of a Dockerfile; the client shows it as an experiment. */
const ask = (folder: string, question: string, ...options: string[]): Promise<Outcome> =>
  daemon.docker(['buildx', 'build', `--print=${question}`, ...options, folder], {
    env: { BUILDX_EXPERIMENTAL: '1' },
  })

test('what a Dockerfile takes, what it can build, and what is wrong with it is told without a step', async () => {
  const folder = context([
    '# WHO is greeted',
    'ARG WHO=world',
    'FROM busybox as first',
    'ARG WHO',
    'RUN --mount=type=secret,id=key echo $WHO; false',
    'FROM first AS second',
    'RUN false',
  ])
  const outline = await ask(folder, 'outline', '--build-arg', 'WHO=us', '-t', 'asked')
  assert.equal(outline.code, 0, outline.stderr)
  assert.match(outline.stdout, /TARGET: +second/)
  assert.match(outline.stdout, /WHO +us/)
  assert.match(outline.stdout, /SECRET +REQUIRED\nkey/)
  const targets = await ask(folder, 'targets')
  assert.match(targets.stdout, /TARGET +DESCRIPTION\nfirst *\nsecond \(default\)/)
  const json = JSON.parse((await ask(folder, 'targets,format=json')).stdout)
  assert.equal(json.targets[1].name, 'second')
  const lint = await ask(folder, 'lint')
  assert.match(lint.stdout, /WARNING: FromAsCasing - https[\s\S]*Dockerfile:3\n/)
  const described = await ask(folder, 'subrequests.describe')
  assert.match(described.stdout, /outline +1\.0\.0/)
  const other = await ask(folder, 'convertllb')
  assert.notEqual(other.code, 0)
  assert.match(other.stderr, /unsupported request frontend\.convertllb/)
  assert.doesNotMatch(await daemon.mustDocker(['images']), /asked/)
})
