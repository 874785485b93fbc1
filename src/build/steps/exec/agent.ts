import { closeSync, openSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
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
  // By its folder's descriptor: an address has room for 107 bytes.
  const folder = openSync(path.dirname(socket), 'r')
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(`/proc/self/fd/${folder}/${path.basename(socket)}`, resolve)
    })
  } finally {
    closeSync(folder)
  }
  return {
    [Symbol.asyncDispose]: async () => {
      for (const connection of open) connection.destroy()
      await new Promise<void>(resolve => server.close(() => resolve()))
    },
  }
}
