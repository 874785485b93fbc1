import http from 'node:http'
import net from 'node:net'

/**
 * `trafficClient.ts HOST PORT KIND`: another host that asks a published port. Prints the milliseconds that the whole
 * of its work took.
 */
const [host = '', port = '', kind = ''] = process.argv.slice(2)
const where = { host, port: Number(port) }
const width = 16

const downloaded = (bytes: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let left = bytes
    const socket = net.connect({
      ...where,
      onread: {
        buffer: Buffer.alloc(1 << 20),
        callback: count => {
          left -= count
          if (left <= 0) socket.destroy()
          return left > 0
        },
      },
    })
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })

const asked = (agent: http.Agent): Promise<void> =>
  new Promise((resolve, reject) => {
    http
      .get({ ...where, agent }, response => {
        response.on('end', resolve)
        response.resume()
      })
      .on('error', reject)
  })

const many = async (count: number, agent: http.Agent): Promise<void> => {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) await asked(agent)
  }
  await Promise.all(Array.from({ length: width }, worker))
  agent.destroy()
}

const work: Record<string, () => Promise<void>> = {
  throughput: () => downloaded(4e9),
  requests: () => many(20_000, new http.Agent({ keepAlive: true, maxSockets: width })),
  connects: () => many(4000, new http.Agent({ keepAlive: false })),
}

const from = performance.now()
await work[kind]?.()
console.log(performance.now() - from)
process.exit(0)
