import { constants } from 'node:os'
import { badRequest } from '../core/errors.ts'

const realtimeMin = 34
const realtimeMax = 64
const last = 64

/** `SIGTERM`, `term`, `15`, `SIGRTMIN+3` as a number. Errors: `bad-request` with Docker's words. */
export const signalNumber = (text: string): number => {
  const invalid = (): Error => badRequest(`invalid signal: ${text}`)
  if (/^\d+$/.test(text)) {
    const value = Number(text)
    if (value < 1 || value > last) throw invalid()
    return value
  }
  const name = text.toUpperCase().replace(/^SIG/, '')
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name)
  if (realtime) {
    const base = realtime[1] === 'MIN' ? realtimeMin : realtimeMax
    const value = base + (realtime[2] === '-' ? -1 : 1) * Number(realtime[3] ?? 0)
    if (value < realtimeMin || value > realtimeMax) throw invalid()
    return value
  }
  const value = (constants.signals as Record<string, number>)[name === 'CLD' ? 'SIGCHLD' : `SIG${name}`]
  if (value === undefined) throw invalid()
  return value
}
