import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startDaemon, type TestDaemon } from './harness/daemon.ts'
import { until } from './harness/shell.ts'

/** Ten thousand ports of one container, by one option. */

let daemon: TestDaemon
before(async () => {
  daemon = await startDaemon()
  await daemon.loadBusybox()
})
after(() => daemon.close())

const served = ['20000', '25000', '29999']
const script = `echo page > /tmp/index.html; for port in ${served.join(' ')} 30000; do httpd -p $port -h /tmp; done; exec sleep 1000`

const fetched = async (port: string): Promise<string> =>
  (await daemon.onHost(['curl', '-s', '-m', '5', `http://127.0.0.1:${port}/`])).stdout.trim()

const isServed = async (): Promise<void> => {
  await until('the last server listens', async () => (await fetched('29999')) === 'page')
  for (const port of served) assert.equal(await fetched(port), 'page')
  assert.equal(await fetched('30000'), '')
}

const publishMany = (name: string, ...options: string[]) =>
  daemon.docker(['run', '-d', '--name', name, ...options, 'busybox', 'sh', '-c', script])

test('a range is published, listed as Docker lists it, and outlives the daemon', async () => {
  assert.equal((await publishMany('many', '-p', '20000-29999:20000-29999')).code, 0)
  await isServed()
  const lines = (await daemon.mustDocker(['port', 'many'])).split('\n')
  assert.equal(lines.length, 10_000)
  assert.ok(lines.includes('25000/tcp -> 0.0.0.0:25000'))
  const ps = await daemon.mustDocker(['ps', '--format', '{{.Ports}}'])
  assert.equal(ps, '0.0.0.0:20000-29999->20000-29999/tcp')
  await daemon.restart()
  await isServed()
})

test('who wants one of them, or a range across them, is told who has it', async () => {
  const one = await daemon.docker(['run', '--rm', '-p', '25000:80', 'busybox', 'true'])
  assert.match(one.stderr, /0\.0\.0\.0:25000 failed: port is already allocated \(by container many\)/)
  const across = await daemon.docker(['run', '--rm', '-p', '29990-30090:29990-30090', 'busybox', 'true'])
  assert.match(across.stderr, /0\.0\.0\.0:29990 failed: port is already allocated \(by container many\)/)
  const choose = await daemon.docker(['run', '--rm', '-p', '29998-29999:80', 'busybox', 'true'])
  assert.match(choose.stderr, /29998-29999 failed: all ports are allocated \(by container many\)/)
  await daemon.mustDocker(['run', '--rm', '-p', '29999-30000:80', 'busybox', 'true'])
})

test('all of them are gone with it, and can be had again, to other ports of a container too', async () => {
  await daemon.mustDocker(['rm', '-f', 'many'])
  for (const port of served) assert.equal(await fetched(port), '')
  assert.equal((await publishMany('shifted', '-p', '10000-19999:20000-29999')).code, 0)
  await until('it listens', async () => (await fetched('19999')) === 'page')
  for (const port of ['10000', '15000']) assert.equal(await fetched(port), 'page')
  await daemon.mustDocker(['rm', '-f', 'shifted'])
  assert.equal((await publishMany('again', '-p', '20000-29999:20000-29999')).code, 0)
  await isServed()
})
