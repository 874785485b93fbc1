import { fixedWidth, nowNanos } from './clock.ts'

/** The daemon's own log, on stderr: text for people, or JSON lines. */
export type Level = 'debug' | 'info' | 'warn' | 'error' | 'fatal'

const order: Level[] = ['debug', 'info', 'warn', 'error', 'fatal']

export interface Log {
  level: Level
  debug(message: string, fields?: Record<string, unknown>): void
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
  error(message: string, fields?: Record<string, unknown>): void
}

const textOf = (value: unknown): string => {
  const text =
    value instanceof Error ? value.message : typeof value === 'string' ? value : JSON.stringify(value)
  return /^[\w./:@+-]+$/.test(text) ? text : JSON.stringify(text)
}

const asText = (level: Level, message: string, fields: Record<string, unknown>): string => {
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${textOf(value)}`)
  return `time="${fixedWidth(nowNanos())}" level=${level} msg=${JSON.stringify(message)}${rest.join('')}\n`
}

const asJson = (level: Level, message: string, fields: Record<string, unknown>): string => {
  const plain = Object.entries(fields).map(([key, value]) => [
    key,
    value instanceof Error ? value.message : value,
  ])
  return `${JSON.stringify({ level, msg: message, time: fixedWidth(nowNanos()), ...Object.fromEntries(plain) })}\n`
}

/** Writes records of `level` and above by `write`. */
export const createLog = (options: {
  level: Level
  format: 'text' | 'json'
  write: (line: string) => void
}): Log => {
  const render = options.format === 'json' ? asJson : asText
  const emit =
    (level: Level) =>
    (message: string, fields: Record<string, unknown> = {}): void => {
      if (order.indexOf(level) >= order.indexOf(log.level)) options.write(render(level, message, fields))
    }
  const log: Log = {
    level: options.level,
    debug: emit('debug'),
    info: emit('info'),
    warn: emit('warn'),
    error: emit('error'),
  }
  return log
}
