import { runAndRemove } from '../acts.ts'
import { call, json } from '../client.ts'
import { atMost, compareCpu, compareWall, interleave } from '../measure.ts'
import type { RowGroup } from '../types.ts'

const makeAndRemove = async (socket: string): Promise<void> => {
  const { Id } = await json<{ Id: string }>(socket, 'POST /networks/create', {
    body: { Name: 'bench-network' },
  })
  await call(socket, `DELETE /networks/${Id}`)
}

const tenPorts = Array.from({ length: 10 }, (_, index) => 28_000 + index)

/** A network made and removed, and a run with ten published ports. */
export const networkRows: RowGroup = async bench => {
  const engines = [await bench.ours(), await bench.peer()]
  const contenders = (act: (socket: string) => Promise<void>) =>
    engines.map(({ name, group, socket }) => ({ name, group, once: () => act(socket) }))
  const made = await interleave(contenders(makeAndRemove), bench.rounds, 2)
  const published = await interleave(
    contenders(socket => runAndRemove(socket, { ports: tenPorts })),
    bench.rounds,
    2,
  )
  const pair = { ours: 'berth', theirs: 'dockerd' }
  const network = { ...pair, name: 'network create and remove' }
  const ports = { ...pair, name: 'run with 10 published ports' }
  return [
    compareWall(made, { ...network, limit: atMost(0.35) }),
    compareCpu(made, network),
    compareWall(published, { ...ports, limit: atMost(0.2) }),
    compareCpu(published, ports),
  ]
}
