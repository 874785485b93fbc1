import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { must } from './harness/shell.ts'

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

interface Sized {
  SizeRw: number
  SizeRootFs: number
  GraphDriver: { Data: { UpperDir: string } }
}

const inspected = (name: string): Promise<Sized> =>
  daemon.json<Sized>('GET', `/containers/${name}/json?size=1`)

test('SizeRw is what du finds of what the container wrote, to the byte', async () => {
  const script = [
    'dd if=/dev/zero of=/plain bs=1000 count=1001',
    'ln /plain /again',
    'dd if=/dev/zero of=/holes bs=1 count=1 seek=9999999',
    'ln -s /plain /link',
    'mkdir -p /dir/deep',
    'echo deep >/dir/deep/file',
    'echo gone >/gone',
    'rm /gone',
    'rm /bin/wget',
    'echo a line of the log',
    'exec sleep 1000 3>/held',
  ].join(' && ')
  await daemon.mustDocker(['run', '-d', '--name', 'sized', 'busybox', 'sh', '-c', script])
  const image = await daemon.json<{ Size: number }>('GET', '/images/busybox/json')
  const { SizeRw, SizeRootFs, GraphDriver } = await untilWritten()
  const find = `find ${GraphDriver.Data.UpperDir} -not -type d -print0`
  const du = await must(['sh', '-c', `${find} | du -cb --files0-from=- | tail -n 1`])
  assert.equal(SizeRw, Number(du.split('\t')[0]))
  assert.equal(SizeRw, 1001 * 1000 + 10_000_000 + '/plain'.length + 'deep\n'.length)
  assert.equal(SizeRootFs, SizeRw + image.Size)
  const [listed] = await daemon.json<Sized[]>('GET', '/containers/json?size=1')
  assert.deepEqual([listed?.SizeRw, listed?.SizeRootFs], [SizeRw, SizeRootFs])
})

/** All is written once the last command runs. */
const untilWritten = async (): Promise<Sized> => {
  for (;;) {
    const top = await daemon.mustDocker(['exec', 'sized', 'ps'])
    if (top.includes('sleep 1000')) return inspected('sized')
  }
}

test('sizes of fifty containers are found by no more threads than there are processors', async () => {
  const threads = (): number => readdirSync(`/proc/${daemon.pid}/task`).length
  await Promise.all(
    Array.from({ length: 50 }, (_, index) => daemon.mustDocker(['create', '--name', `c${index}`, 'busybox'])),
  )
  await daemon.json('GET', '/containers/sized/json?size=1')
  const before = threads()
  let most = before
  const watching = setInterval(() => {
    most = Math.max(most, threads())
  }, 1)
  const sizes = await daemon.json<Sized[]>('GET', '/containers/json?all=1&size=1')
  clearInterval(watching)
  assert.equal(sizes.filter(({ SizeRw }) => SizeRw === 0).length, 50)
  assert.ok(most <= before + availableParallelism(), `${before} before, ${most} then`)
})
