import { once } from 'node:events'
import { asBerthError } from '../core/errors.ts'
import type { Call } from './route.ts'

/**
 * An answer of JSON lines whose status is 200 from the first line on: an error
 * before it is answered as any other, a later one is the last line.
 */
export const progressLines = async (
  { res, signal }: Call,
  work: (report: (line: object) => void) => Promise<void>,
): Promise<undefined> => {
  const report = (line: object): void => {
    if (!res.headersSent) res.writeHead(200, { 'Content-Type': 'application/json' })
    res.write(`${JSON.stringify(line)}\r\n`)
  }
  try {
    await work(report)
  } catch (error) {
    if (!res.headersSent) throw error
    const { message } = asBerthError(error)
    report({ errorDetail: { message }, error: message })
  }
  if (res.writableNeedDrain && !signal.aborted) await once(res, 'drain', { signal })
  res.end()
}
