import assert from 'node:assert/strict'
import { connect } from 'node:net'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { messageOf } from '../src/core/errors.ts'
import { audit } from './harness/audit.ts'
import { makeContext } from './harness/buildContexts.ts'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { DebugAdapter, noDebugger, type Stopped, type Variable } from './harness/debugAdapter.ts'
import { until } from './harness/shell.ts'

/** Builds under the debugger of the real client (`buildx dap build`), as an editor leads it. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const debugging = (what: string): [string, { skip: string | false }] =>
  noDebugger ? [`${what}: skipped, ${noDebugger}`, { skip: noDebugger }] : [what, { skip: false }]

const dockerfile = [
  'FROM busybox AS base',
  'RUN echo one >/one',
  'COPY file /file',
  'ENV WHO=me',
  'RUN --mount=type=cache,target=/cache cat /file >/two',
  'FROM base',
  'COPY --from=base /one /uno',
  'RUN ls /',
]

const contextOf = (lines: string[]): { folder: string; file: string } => {
  const folder = makeContext(daemon, lines, { file: 'content' })
  return { folder, file: path.join(folder, 'Dockerfile') }
}

const failing = [
  ...['FROM busybox', 'ENV WHO=me', 'WORKDIR /work', 'RUN echo there >/before'],
  ...['RUN echo late >/left; exit 7', 'RUN true'],
]

/** Names of the files at the top that are no folders. Newer debuggers have a folder for each mount and each input. */
const filesAt = async (debug: DebugAdapter, stopped: Stopped): Promise<Variable[]> => {
  const isRoot = (all: readonly Variable[]): boolean => all.some(({ name }) => name === 'bin/')
  const roots = await debug.variables(stopped, 'File Explorer')
  let files: Variable[] = roots
  for (const root of roots) if (!isRoot(files)) files = await debug.below(root)
  return files.filter(({ name }) => !name.endsWith('/'))
}

const namesOf = (variables: readonly Variable[]): string[] => variables.map(({ name }) => name)

/** A shell in what a build has come to: what it writes while it does a command. */
const shellOf = async (
  debug: DebugAdapter,
  stopped: Stopped,
): Promise<(command: string) => Promise<string>> => {
  const [frame] = await debug.frames(stopped)
  const begun = debug.ask('evaluate', { expression: 'exec', context: 'repl', frameId: frame?.id })
  const { args } = (await debug.asked('runInTerminal')) as { args: string[] }
  await begun
  const socket = connect(args.at(-1) ?? '')
  let output = ''
  socket.on('data', bytes => {
    output += bytes.toString()
  })
  // What is typed before it is there is lost on the client's side.
  await until('the shell began', () => output.includes('built-in shell'))
  let commands = 0
  return async command => {
    output = ''
    const mark = `end-of-${++commands}`
    // The terminal shows what is typed, too: there the mark is in quotes.
    socket.write(`${command}; echo "end-"of-${commands}\n`)
    return await until(`the shell did ${command}`, () => output.includes(mark) && output).catch(error => {
      throw new Error(`${messageOf(error)}; it wrote ${output}`)
    })
  }
}

test(...debugging('a build goes step by step, and its files are seen at each'), async () => {
  const { folder, file } = contextOf(dockerfile)
  await using debug = new DebugAdapter(daemon, ['-t', 'stepped', folder])
  await debug.begin({ stopOnEntry: true })
  const seen: [line: number, files: string[]][] = []
  for (let stopped = await debug.stopped(); stopped; stopped = await debug.stopped()) {
    const [frame] = await debug.frames(stopped)
    assert.equal(frame?.source.path, file)
    seen.push([frame.line, seen.length === 0 ? [] : namesOf(await filesAt(debug, stopped))])
    await debug.ask('next', { threadId: stopped.threadId })
  }
  assert.deepEqual(seen, [
    [1, []],
    [2, []],
    [3, ['one']],
    [5, ['file', 'one']],
    [7, ['file', 'one', 'two']],
    [8, ['file', 'one', 'two', 'uno']],
    [8, ['file', 'one', 'two', 'uno']],
  ])
  assert.equal(await debug.ended, 0)
  assert.equal(await daemon.mustDocker(['run', '--rm', 'stepped', 'cat', '/uno']), 'one')
  await audit(daemon)
})

test(...debugging('a build stops where it is told to, before the step and no other one runs'), async () => {
  const { folder, file } = contextOf(dockerfile.map(line => line.replaceAll('one', 'eins')))
  await using debug = new DebugAdapter(daemon, ['--progress=plain', folder])
  await debug.begin({}, { file, lines: [5, 7] })
  const first = (await debug.stopped()) ?? assert.fail('it did not stop')
  assert.equal(first.reason, 'breakpoint')
  const [frame] = await debug.frames(first)
  assert.deepEqual(
    [frame?.line, frame?.name],
    [5, '[base 4/4] RUN --mount=type=cache,target=/cache cat /file >/two'],
  )
  const files = await filesAt(debug, first)
  assert.deepEqual(namesOf(files), ['eins', 'file'])
  const exec = (await debug.variables(first, 'Arguments')).find(({ name }) => name === 'exec')
  assert.equal(exec?.value, '/bin/sh -c cat /file >/two')
  const details = await debug.below(exec)
  assert.deepEqual(
    (await debug.below(details.find(({ name }) => name === 'env'))).map(
      ({ name, value }) => `${name}=${value}`,
    ),
    ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'WHO=me'],
  )
  const content = files.find(({ name }) => name === 'file')
  assert.equal((await debug.below(content)).find(({ name }) => name === 'data')?.value, 'content')
  const shell = await shellOf(debug, first)
  assert.match(await shell('cat /file; echo " of $WHO"; ls /two'), /content of me\s+ls: \/two: No such file/)
  await shell('rm /file')
  assert.doesNotMatch(debug.output, /\[base 4\/4\]/)
  await debug.ask('continue', { threadId: first.threadId })
  const second = (await debug.stopped()) ?? assert.fail('it did not stop again')
  assert.equal((await debug.frames(second))[0]?.line, 7)
  await debug.ask('continue', { threadId: second.threadId })
  assert.equal(await debug.stopped(), undefined)
  assert.equal(await debug.ended, 0)
})

test(...debugging('a step that fails stops there, with what it took'), async () => {
  const { folder } = contextOf(failing)
  await using debug = new DebugAdapter(daemon, [folder])
  await debug.begin({})
  const stopped = (await debug.stopped()) ?? assert.fail('it did not stop')
  assert.equal(stopped.reason, 'exception')
  assert.equal((await debug.frames(stopped))[0]?.line, 5)
  assert.ok(namesOf(await filesAt(debug, stopped)).includes('before'))
  await debug.ask('continue', { threadId: stopped.threadId })
  assert.equal(await debug.ended, 1)
  assert.match(debug.stderr, />>> RUN echo late >\/left; exit 7/)
  assert.match(debug.stderr, /exit code: 7/)
  await audit(daemon)
})
