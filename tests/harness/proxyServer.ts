import { startProxy } from '../../src/registry-client/testing/proxy.ts'
import { serveBeside, startBeside } from './beside.ts'

/** A proxy of HTTP in a network namespace: it sends everything to one server. */
export interface ProxyServer extends AsyncDisposable {
  url: string
}

export const startProxyServer = async (namespace: string, to: string): Promise<ProxyServer> => {
  const beside = await startBeside(namespace, import.meta.filename, to)
  return { url: beside.first, [Symbol.asyncDispose]: () => beside[Symbol.asyncDispose]() }
}

if (import.meta.main) await serveBeside((await startProxy({ to: process.argv[2] ?? '' })).url)
