import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDaemon } from './harness/daemon.ts'
import { ImageRegistry } from './harness/imageRegistry.ts'
import { until } from './harness/shell.ts'

const GB = 1e9
const cuts = 50

test('a layer of 1 GB comes over 50 cuts and deaths of the daemon, with at most 1 % of it fetched twice', async () => {
  const daemon = await startDaemon()
  const registry = await ImageRegistry.start(daemon.namespace)
  try {
    const { layers } = await registry.serve({
      repository: 'big',
      tag: '1',
      which: 'big',
      bytes: GB,
      packing: 'none',
    })
    const layer = layers.at(-1)
    // What the namespace's loopback carried tells the truth, headers of packets included.
    const carried = async (): Promise<number> => {
      const { stdout } = await daemon.onHost(['cat', '/proc/net/dev'])
      return Number(/^ *lo: *(\d+)/m.exec(stdout)?.[1])
    }
    await registry.fault(new RegExp(`^GET .*blobs/${layer}`), { cutAfter: 19.5e6 }, cuts)
    const name = `${registry.address}/big:1`
    const before = await carried()
    // Two of the cuts are the daemon's own.
    for (const share of [0.3, 0.6]) {
      const pull = daemon.docker(['pull', '-q', name])
      await until('a part had come', async () => (await carried()) - before > share * GB)
      await daemon.restart()
      assert.notEqual((await pull).code, 0)
    }
    await daemon.mustDocker(['pull', '-q', name], { deadline: 300_000 })
    const bytes = (await carried()) - before
    // What was in the sockets at a cut was carried, and came to nobody: more of it, the busier the machine.
    const unread = (cuts + 2) * 256 * 1024
    assert.ok(bytes < 1.01 * GB + unread, `${bytes} bytes for ${GB}`)
    const asked = (await registry.seen()).filter(
      line => line.includes(`blobs/${layer}`) && line.startsWith('GET'),
    )
    assert.ok(asked.length > cuts, `${asked.length} requests`)
    assert.equal(await daemon.mustDocker(['run', '--rm', name, 'stat', '-c', '%s', '/noise']), String(GB))
  } finally {
    await registry[Symbol.asyncDispose]()
    await daemon.close()
  }
})
