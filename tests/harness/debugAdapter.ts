import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { clients, type TestDaemon } from './daemon.ts'
import { until } from './shell.ts'

/** An editor that debugs a build: `buildx dap build`, spoken to by the Debug Adapter Protocol over its pipes. */

const buildx = path.join(clients, 'newer', 'docker-buildx')

/** Undefined where the tests can have it. */
export const noDebugger = existsSync(buildx) ? undefined : 'the buildx of Debian’s next release cannot be had'

interface Message {
  type: 'request' | 'response' | 'event'
  seq: number
  command?: string
  event?: string
  request_seq?: number
  success?: boolean
  message?: string
  arguments?: Record<string, unknown>
  body?: Record<string, unknown>
}

export interface Stopped {
  reason: string
  threadId: number
}

export interface Frame {
  id: number
  name: string
  line: number
  source: { path: string }
}

export interface Variable {
  name: string
  value: string
  variablesReference: number
}

/** Messages of `Content-Length` and JSON. */
const messagesOf = (hear: (message: Message) => unknown): ((bytes: Buffer) => void) => {
  let rest = Buffer.alloc(0)
  return bytes => {
    rest = Buffer.concat([rest, bytes])
    for (;;) {
      const end = rest.indexOf('\r\n\r\n')
      if (end < 0) return
      const length = Number(/Content-Length: (\d+)/.exec(rest.subarray(0, end).toString())?.[1])
      if (rest.length < end + 4 + length) return
      hear(JSON.parse(rest.subarray(end + 4, end + 4 + length).toString()) as Message)
      rest = rest.subarray(end + 4 + length)
    }
  }
}

export class DebugAdapter {
  readonly #process: ChildProcess
  readonly #heard: Message[] = []
  readonly ended: Promise<number | null>
  #sent = 0
  stderr = ''

  constructor(daemon: TestDaemon, args: readonly string[]) {
    this.#process = spawn(buildx, ['dap', 'build', ...args], {
      env: { ...process.env, ...daemon.dockerEnv, BUILDX_EXPERIMENTAL: '1' },
    })
    this.#process.stdout?.on(
      'data',
      messagesOf(message => this.#heard.push(message)),
    )
    this.#process.stderr?.on('data', (bytes: Buffer) => {
      this.stderr += bytes.toString()
    })
    this.ended = new Promise(resolve => this.#process.once('close', code => resolve(code)))
  }

  #send(message: Omit<Message, 'seq'>): number {
    const seq = ++this.#sent
    const text = JSON.stringify({ ...message, seq })
    this.#process.stdin?.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
    return seq
  }

  /** What the build has shown so far. */
  get output(): string {
    return this.#heard.map(({ event, body }) => (event === 'output' ? String(body?.['output']) : '')).join('')
  }

  /** The first message not taken so far that is looked for; it is taken. */
  async #take(what: string, is: (message: Message) => boolean): Promise<Message> {
    return await until(`the debugger’s ${what}`, () => {
      const index = this.#heard.findIndex(is)
      if (index >= 0) return this.#heard.splice(index, 1)[0]
      if (this.#process.exitCode !== null)
        throw new Error(
          `the debugger ended before its ${what}: ${this.stderr} ${JSON.stringify(this.#heard)}`,
        )
      return undefined
    })
  }

  /** Errors: what it was refused with. */
  async ask<T = Record<string, unknown>>(command: string, args: object = {}): Promise<T> {
    const seq = this.#send({ type: 'request', command, arguments: args as Record<string, unknown> })
    const answer = await this.#take(
      `answer to ${command}`,
      ({ type, request_seq }) => type === 'response' && request_seq === seq,
    )
    if (!answer.success) throw new Error(`${command}: ${answer.message} ${JSON.stringify(answer.body)}`)
    return (answer.body ?? {}) as T
  }

  async event(name: string): Promise<Record<string, unknown>> {
    const { body } = await this.#take(name, message => message.event === name)
    return body ?? {}
  }

  /** What it asks of the editor, answered with success. */
  async asked(command: string): Promise<Record<string, unknown>> {
    const request = await this.#take(
      command,
      message => message.type === 'request' && message.command === command,
    )
    this.#send({ type: 'response', request_seq: request.seq, command, success: true, body: {} } as Message)
    return request.arguments ?? {}
  }

  async begin(
    launch: object,
    breakpoints: { file: string; lines: number[] } | undefined = undefined,
  ): Promise<void> {
    await this.ask('initialize', {
      clientID: 'test',
      adapterID: 'buildx',
      supportsRunInTerminalRequest: true,
    })
    const launched = this.ask('launch', launch)
    await this.event('initialized')
    if (breakpoints)
      await this.ask('setBreakpoints', {
        source: { path: breakpoints.file },
        breakpoints: breakpoints.lines.map(line => ({ line })),
      })
    await this.ask('configurationDone')
    await launched
  }

  /** Where it has stopped next; undefined where its thread has ended instead. */
  async stopped(): Promise<Stopped | undefined> {
    const { event, body } = await this.#take(
      'next stop or end',
      message =>
        message.event === 'stopped' || (message.event === 'thread' && message.body?.['reason'] === 'exited'),
    )
    return event === 'stopped' ? (body as unknown as Stopped) : undefined
  }

  /** The innermost first. */
  async frames({ threadId }: Stopped): Promise<Frame[]> {
    return (await this.ask<{ stackFrames: Frame[] }>('stackTrace', { threadId })).stackFrames
  }

  /** What a scope of the innermost frame holds; nothing where it has no such scope. */
  async variables(stopped: Stopped, scope: string): Promise<Variable[]> {
    const [frame] = await this.frames(stopped)
    const { scopes } = await this.ask<{ scopes: Variable[] }>('scopes', { frameId: frame?.id })
    return await this.below(scopes.find(({ name }) => name === scope))
  }

  async below(variable: Variable | undefined): Promise<Variable[]> {
    const { variablesReference } = variable ?? {}
    if (!variablesReference) return []
    return (await this.ask<{ variables: Variable[] }>('variables', { variablesReference })).variables
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.ended
  }
}
