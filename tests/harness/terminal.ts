import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { patience } from './shell.ts'

/** A command on a terminal of its own: what it shows, and what is typed. */
export interface Terminal extends AsyncDisposable {
  /** Waits for texts, in any order, behind what was waited for last; shows all there was where one does not come. */
  until(...texts: string[]): Promise<void>
  type(text: string): void
}

/** Between a terminal and two pipes. */
const relay = `
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    ready = select.select([0, terminal], [], [])[0]
    try:
        if terminal in ready:
            os.write(1, os.read(terminal, 65536) or sys.exit())
        if 0 in ready:
            os.write(terminal, os.read(0, 65536) or sys.exit())
    except OSError:
        sys.exit()
`

/** Milliseconds; only against hanging. */
const deadline = 30_000 * patience

/** Disposal kills it with all that it started. */
export const startTerminal = (command: readonly string[], env: Record<string, string>): Terminal => {
  const child = spawn('python3', ['-c', relay, ...command], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  let [shown, seen] = ['', 0]
  let changed = Promise.withResolvers<void>()
  const tell = (): void => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  child.stdin.on('error', () => {})
  child.stdout.on('data', bytes => {
    shown += bytes
    tell()
  })
  child.once('close', tell)
  return {
    type: text => void child.stdin.write(text),
    until: async (...texts) => {
      const missing = (): string | undefined => texts.find(text => !shown.includes(text, seen))
      const late = new AbortController()
      const timer = setTimeout(() => {
        late.abort()
        tell()
      }, deadline)
      try {
        while (missing() !== undefined) {
          if (late.signal.aborted || child.exitCode !== null)
            throw new Error(`${JSON.stringify(missing())} was not shown: ${shown}`)
          await changed.promise
        }
        seen = Math.max(...texts.map(text => shown.indexOf(text, seen) + text.length))
      } finally {
        clearTimeout(timer)
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null) return
      const closed = once(child, 'close')
      // The command leads a session of its own, which loses its terminal.
      child.kill('SIGKILL')
      await closed
    },
  }
}
