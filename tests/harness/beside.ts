import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'

/** A server of the tests in a process of its own within a network namespace; it ends with its input. */
export interface Beside extends AsyncDisposable {
  /** What it said when it was ready. */
  first: string
  /** What it says from then on. */
  lines: Interface
}

/** Runs a file of the harness with one argument, and waits for its first line. */
export const startBeside = async (namespace: string, file: string, argument: string): Promise<Beside> => {
  const child = spawn('nsenter', [`--net=${namespace}`, process.execPath, file, argument], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)
  const [first] = (await once(lines, 'line')) as [string]
  return {
    first,
    lines,
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'close')
      child.stdin.end()
      await ended
    },
  }
}

/** The server's side: says that it is ready, and ends when its input does. */
export const serveBeside = async (first: string): Promise<never> => {
  process.stdout.write(`${first}\n`)
  await once(process.stdin.resume(), 'end')
  process.exit()
}
