import { type ChildProcess, spawn } from 'node:child_process'

/** What a command left behind. */
export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  env?: Record<string, string>
  input?: string | Buffer
  /** Milliseconds; only against hanging. */
  deadline?: number
}

/** All deadlines of the suite, which only guard against hanging, are this many times as long: for slow machines. */
export const patience = Number(process.env['BERTH_TEST_PATIENCE'] ?? 1)

const collect = (child: ChildProcess): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout?.on('data', chunk => out.push(chunk))
    child.stderr?.on('data', chunk => err.push(chunk))
    child.once('error', reject)
    child.once('close', (code, signal) =>
      resolve({
        code: code ?? (signal ? 255 : 0),
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString() + (code === null ? `\n(ended by ${signal})` : ''),
      }),
    )
  })

/** Runs a command to its end. */
export const run = async (command: readonly string[], options: RunOptions = {}): Promise<Outcome> => {
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    env: { ...process.env, ...options.env },
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)
  const timer = setTimeout(() => child.kill('SIGKILL'), (options.deadline ?? 120_000) * patience)
  try {
    return await collect(child)
  } finally {
    clearTimeout(timer)
  }
}

/** Runs a command that must succeed; gives its stdout without the last newline. */
export const must = async (command: readonly string[], options: RunOptions = {}): Promise<string> => {
  const { code, stdout, stderr } = await run(command, options)
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}: ${stderr}${stdout}`)
  return stdout.replace(/\n$/, '')
}

/** Waits until something holds, looking again after short pauses; `deadline` (ms) only guards against hanging. */
export const until = async <T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  deadline = 30_000,
): Promise<T> => {
  const end = Date.now() + deadline * patience
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`${what} did not happen within ${(deadline * patience) / 1000} s`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
