import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import path from 'node:path'
import type { PluginKind } from '../../src/plugins/types.ts'

/** A plugin of a test's own. It records what it was asked, and answers, hangs or dies as it is told. */
export interface PluginCall {
  method: string
  headers: IncomingMessage['headers']
  // biome-ignore lint/suspicious/noExplicitAny: what it was asked differs by method
  args: any
}

/** What a method answers; what it throws is the answer's `Err`. */
export type PluginAnswers = Record<string, (args: PluginCall['args']) => object | Promise<object>>

/** A folder that daemons and plugins meet in: give it to a daemon as BERTH_TEST_PLUGINS. */
export const pluginFolder = (): string => {
  const folder = mkdtempSync('/tmp/berth-plugins-')
  for (const name of ['run', 'etc', 'lib']) mkdirSync(path.join(folder, name))
  return folder
}

const textOf = async (req: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

export class PluginServer implements AsyncDisposable {
  readonly calls: PluginCall[] = []
  readonly socket: string
  readonly #kinds: PluginKind[]
  readonly #answers: PluginAnswers
  #server: Server | undefined
  /** Methods that are never answered. */
  hangsAt = new Set<string>()

  private constructor(folder: string, name: string, kinds: PluginKind[], answers: PluginAnswers) {
    this.socket = path.join(folder, 'run', `${name}.sock`)
    this.#kinds = kinds
    this.#answers = answers
  }

  static async start(
    at: { folder: string; name: string },
    kinds: PluginKind[],
    answers: PluginAnswers,
  ): Promise<PluginServer> {
    mkdirSync(path.join(at.folder, 'run'), { recursive: true })
    const plugin = new PluginServer(at.folder, at.name, kinds, answers)
    await plugin.revive()
    return plugin
  }

  async revive(): Promise<void> {
    rmSync(this.socket, { force: true })
    const server = createServer((req, res) => {
      void this.#answer(req).then(
        answer => answer && res.end(JSON.stringify(answer)),
        error => res.writeHead(500).end(JSON.stringify({ Err: error.message })),
      )
    })
    this.#server = server
    await new Promise<void>(resolve => server.listen(this.socket, resolve))
  }

  async #answer(req: IncomingMessage): Promise<object | undefined> {
    const method = (req.url ?? '').slice(1)
    const text = await textOf(req)
    this.calls.push({ method, headers: req.headers, args: text === '' ? undefined : JSON.parse(text) })
    if (this.hangsAt.has(method)) return undefined
    if (method === 'Plugin.Activate') return { Implements: this.#kinds }
    const answer = this.#answers[method]
    if (!answer) throw new Error(`${method} is unknown`)
    return await answer(this.calls.at(-1)?.args)
  }

  asked(method: string): PluginCall['args'][] {
    return this.calls.filter(call => call.method === method).map(({ args }) => args)
  }

  /** As a kill does: connections are cut, and the socket's file stays. */
  async die(): Promise<void> {
    const server = this.#server
    if (!server) return
    this.#server = undefined
    renameSync(this.socket, `${this.socket}.kept`)
    const closed = new Promise(resolve => server.close(resolve))
    server.closeAllConnections()
    await closed
    renameSync(`${this.socket}.kept`, this.socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.die()
    rmSync(this.socket, { force: true })
  }
}
