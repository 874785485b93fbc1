import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { type LedBuild, leadBuild } from './harness/leadBuild.ts'

/** Containers in what a build made, for who leads it (BuildKit's gateway). */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

/** A build with a container `box` of busybox. */
const withBox = async (options: Parameters<typeof leadBuild>[1] = {}): Promise<LedBuild> => {
  const build = await leadBuild(daemon, options)
  const resultId = await build.image('busybox')
  await build.container('box', { mounts: [{ dest: '/', resultId }] })
  return build
}

test('a process reads what it is sent, and its output, its end and its code are told in order', async () => {
  await using build = await withBox()
  build.read()
  const process = build.start('box', ['/bin/sh', '-c', 'cat; echo told >&2; exit 3'])
  process.write('one\n')
  process.write('two\n')
  process.endInput()
  await process.done()
  assert.deepEqual([process.stdout, process.stderr], ['one\ntwo\n', 'told\n'])
  assert.deepEqual([process.exit?.code, process.exit?.error?.message], [3, 'exit code: 3'])
  assert.deepEqual(
    process.cases.filter(name => !name.startsWith('data')),
    ['started', 'eof 1', 'eof 2', 'exit', 'done'],
  )
  await build.end()
})
