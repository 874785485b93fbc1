import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { startProxy } from '../../src/registry-client/testing/proxy.ts'

/** A proxy of HTTP in a network namespace, in a process of its own: it sends everything to one server. */
export interface ProxyServer extends AsyncDisposable {
  url: string
}

export const startProxyServer = async (namespace: string, to: string): Promise<ProxyServer> => {
  const child: ChildProcess = spawn(
    'nsenter',
    [`--net=${namespace}`, process.execPath, import.meta.filename, to],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  if (!child.stdout) throw new Error('the proxy has no output')
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string]
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'close')
      child.stdin?.end()
      await ended
    },
  }
}

if (import.meta.main) {
  const { url } = await startProxy({ to: process.argv[2] ?? '' })
  process.stdout.write(`${url}\n`)
  await once(process.stdin.resume(), 'end')
  process.exit()
}
