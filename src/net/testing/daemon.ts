/** A daemon of a test: makes a bridge, a sandbox and an endpoint, says what it made, takes it apart where told so, and waits to be killed. */
import { Network } from '../network.ts'
import { bridgeNumber, endpointSpec, MemoryKeeper, port } from './stage.ts'

const [execRoot = '', table = '', goal = '', mode = 'open'] = process.argv.slice(2)

const network = await Network.open({
  execRoot,
  firewall: { table, enabled: true, mode: mode === 'host' ? 'host' : 'open' },
  ipForward: true,
  keeper: new MemoryKeeper(),
})
await network.reconcile({ bridges: [], endpoints: [], sandboxes: [] })
const bridge = bridgeNumber(1)
network.ensureBridge(bridge)
network.createSandbox('web')
const ports = [port(8080, 80), port(5353, 53, { protocol: 'udp' })]
const endpoint = await network.connect(endpointSpec('web', bridge, { ipv4: '172.30.1.2', ports }))
process.send?.(endpoint)
if (goal === 'disconnect') {
  await network.disconnect(endpoint, { sandboxEnds: false })
  network.removeSandbox('web')
}
setInterval(() => {}, 1_000_000)
