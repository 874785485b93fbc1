/**
 * A reaper as Testcontainers starts one, by Ryuk's protocol: a line of filters,
 * URL-encoded, is answered `ACK`; when the last client has been gone for
 * RYUK_RECONNECTION_TIMEOUT, all that carries such labels is removed.
 */
import { request } from 'node:http'
import { createServer } from 'node:net'
import { hostname } from 'node:os'
import { createInterface } from 'node:readline'

const seconds = (name, otherwise) => {
  const text = process.env[name] ?? otherwise
  return Number.parseFloat(text) * (text.endsWith('m') ? 60 : 1)
}

const docker = (method, path) =>
  new Promise((resolve, reject) => {
    const req = request({ socketPath: '/var/run/docker.sock', method, path, headers: { Host: 'docker' } }, res => {
      let text = ''
      res.on('data', chunk => {
        text += chunk
      })
      res.on('end', () => resolve({ status: res.statusCode, text }))
    })
    req.on('error', reject)
    req.end()
  })

const all = async (path, labels, pick) => {
  const filters = encodeURIComponent(JSON.stringify({ label: labels }))
  const { text } = await docker('GET', `${path}filters=${filters}`)
  return pick(JSON.parse(text))
}

const asked = new Set()
let clients = 0
let timer

const others = found => found.filter(({ Id }) => !Id.startsWith(hostname()))

const kinds = [
  // Not the reaper itself, which is of a session, too.
  ['containers', '/containers/json?all=1&', found => others(found).map(({ Id }) => Id), '?force=1&v=1'],
  ['networks', '/networks?', found => found.map(({ Id }) => Id), ''],
  ['volumes', '/volumes?', ({ Volumes }) => (Volumes ?? []).map(({ Name }) => Name), '?force=1'],
  ['images', '/images/json?all=1&', found => found.map(({ Id }) => Id), '?force=1'],
]

const reap = async () => {
  for (const [kind, list, pick, options] of kinds)
    for (const labels of asked)
      for (const id of await all(list, JSON.parse(labels), pick)) {
        const { status, text } = await docker('DELETE', `/${kind}/${encodeURIComponent(id)}${options}`)
        console.log(`${kind} ${id} ${status} ${text}`)
      }
  console.log('Done')
  process.exit(0)
}

const patience = name => {
  clearTimeout(timer)
  timer = setTimeout(reap, seconds(name, name === 'RYUK_CONNECTION_TIMEOUT' ? '1m' : '10s') * 1000)
}

createServer(socket => {
  clients += 1
  clearTimeout(timer)
  socket.on('error', () => {})
  socket.on('close', () => {
    clients -= 1
    if (clients === 0) patience('RYUK_RECONNECTION_TIMEOUT')
  })
  createInterface(socket).on('line', line => {
    const labels = new URLSearchParams(line.trim()).getAll('label')
    if (labels.length === 0) return
    asked.add(JSON.stringify(labels))
    socket.write('ACK\n')
  })
}).listen(Number(process.env.RYUK_PORT ?? 8080), () => {
  patience('RYUK_CONNECTION_TIMEOUT')
  console.log(`${new Date().toISOString()} Started`)
})
