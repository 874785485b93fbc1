/**
 * Prints what a connect, a publish and a disconnect cost, with few and with
 * 10,000 published elements in the table. Run it in namespaces of its own:
 * `unshare --net --mount node src/net/testing/figures.ts`.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Network } from '../network.ts'
import { bridgeNumber, endpointSpec, MemoryKeeper, port } from './stage.ts'

const execRoot = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-net-figures-'))
const table = 'berth-figures'
const bridge = bridgeNumber(1)

const median = (values: number[]): string =>
  (values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0).toFixed(2)

const timed = async (into: number[], work: () => unknown): Promise<void> => {
  const start = performance.now()
  await work()
  into.push(performance.now() - start)
}

const network = await Network.open({
  execRoot,
  firewall: { table, enabled: true, mode: 'open' },
  ipForward: true,
  keeper: new MemoryKeeper(),
  guard: true,
})

const round = async (title: string): Promise<void> => {
  const times: Record<string, number[]> = {
    'create sandbox': [],
    'connect, no port': [],
    'connect, one port': [],
    stats: [],
    'disconnect, one port': [],
    'remove sandbox': [],
  }
  const of = (name: string): number[] => times[name] ?? []
  for (let i = 0; i < 30; i++) {
    const ids = [`a${i}`, `b${i}`]
    for (const id of ids) await timed(of('create sandbox'), () => network.createSandbox(id))
    const plain = endpointSpec(ids[0] ?? '', bridge, { ipv4: '172.30.1.100' })
    const published = endpointSpec(ids[1] ?? '', bridge, { ipv4: '172.30.1.101', ports: [port(9000, 80)] })
    let first = await network.connect(plain)
    await network.disconnect(first, { sandboxEnds: false })
    await timed(of('connect, no port'), async () => {
      first = await network.connect(plain)
    })
    let second = first
    await timed(of('connect, one port'), async () => {
      second = await network.connect(published)
    })
    await timed(of('stats'), () => network.stats(second))
    await timed(of('disconnect, one port'), () => network.disconnect(second, { sandboxEnds: true }))
    await network.disconnect(first, { sandboxEnds: true })
    for (const id of ids) await timed(of('remove sandbox'), () => network.removeSandbox(id))
    await network.linkGone(second)
  }
  console.log(title)
  for (const [name, values] of Object.entries(times)) console.log(`  ${name.padEnd(22)} ${median(values)} ms`)
}

await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
network.ensureBridge(bridge)
await round('empty table')
network.createSandbox('big')
const ports = Array.from({ length: 10_000 }, (_, i) => port(10_000 + i, 10_000 + i))
const bulk: number[] = []
let big = await network.connect(endpointSpec('big', bridge, { ipv4: '172.30.1.2' }))
await network.disconnect(big, { sandboxEnds: false })
await timed(bulk, async () => {
  big = await network.connect(endpointSpec('big', bridge, { ipv4: '172.30.1.2', ports }))
})
console.log(`connect with 10,000 ports  ${median(bulk)} ms`)
await round('10,000 published elements')
const start: number[] = []
await timed(start, () => network.reconcile({ bridges: [bridge], endpoints: [big], sandboxes: ['big'] }))
console.log(`reconcile with 10,000     ${median(start)} ms`)
await timed(start, () => network.disconnect(big, { sandboxEnds: true }))
console.log(`disconnect of 10,000      ${(start.at(-1) ?? 0).toFixed(2)} ms`)
await network.removeAll()
await network.close()
fs.rmSync(execRoot, { recursive: true, force: true })
