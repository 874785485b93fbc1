import { createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** A socket whose connections lead to an agent of the client's (ssh-agent(1)). */
export const listenForAgent = async (
  socket: string,
  connect: () => Promise<Duplex>,
): Promise<AsyncDisposable> => {
  const open = new Set<Duplex>()
  const server = createServer({ allowHalfOpen: true }, client => {
    open.add(client)
    client.once('close', () => open.delete(client))
    client.on('error', () => client.destroy())
    connect().then(
      async agent => {
        open.add(agent)
        agent.once('close', () => open.delete(agent))
        await Promise.allSettled([pipeline(client, agent), pipeline(agent, client)])
        agent.destroy()
        client.destroy()
      },
      () => client.destroy(),
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socket, resolve)
  })
  return {
    [Symbol.asyncDispose]: async () => {
      for (const connection of open) connection.destroy()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}
