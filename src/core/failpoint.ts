import { readFileSync } from 'node:fs'

/**
 * Named points at which a crash test ends or delays this process. They are
 * armed by the environment only: BERTH_FAILPOINTS="name=action,name=action".
 * Actions: `kill` (SIGKILL to this process), `error` (throws), `kill@N` and
 * `error@N` (the N-th pass), `stop` (SIGSTOP), `sleep:MS`. BERTH_FAILPOINTS="@FILE"
 * reads them from a file at each pass, so that a running daemon can be armed.
 */
type Action = { kind: 'kill' | 'error' | 'stop' | 'sleep'; pass: number; ms: number }

const parse = (text: string): Map<string, Action> => {
  const armed = new Map<string, Action>()
  for (const entry of text.split(',')) {
    const match = /^([^=]+)=(kill|error|stop|sleep)(?::(\d+))?(?:@(\d+))?$/.exec(entry.trim())
    if (!match?.[1]) continue
    armed.set(match[1], {
      kind: match[2] as Action['kind'],
      ms: Number(match[3] ?? 0),
      pass: Number(match[4] ?? 1),
    })
  }
  return armed
}

const given = process.env['BERTH_FAILPOINTS'] ?? ''
const fixed = parse(given)
const passes = new Map<string, number>()

const armedNow = (): Map<string, Action> => {
  if (!given.startsWith('@')) return fixed
  try {
    return parse(readFileSync(given.slice(1), 'utf8'))
  } catch {
    return fixed
  }
}

/** Passes a named fail point: nothing happens unless a test armed it. */
export const failpoint = (name: string): void => {
  if (given === '') return
  const action = armedNow().get(name)
  if (!action) return
  const pass = (passes.get(name) ?? 0) + 1
  passes.set(name, pass)
  if (pass !== action.pass) return
  if (action.kind === 'kill') process.kill(process.pid, 'SIGKILL')
  else if (action.kind === 'stop') process.kill(process.pid, 'SIGSTOP')
  else if (action.kind === 'sleep') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, action.ms)
  else throw new Error(`fail point ${name}`)
}
