import { badRequest } from '../../../core/errors.ts'

/** `host:port`, `[::1]:port`, or a host alone where there is a port by default. Errors: `bad-request`, in Go's words. */
export const splitHostPort = (text: string, otherwise?: string): { host: string; port: number } => {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?$/.exec(text)
  if (!match) throw badRequest(`address ${text}: too many colons in address`)
  const port = match[3] ?? otherwise
  if (port === undefined) throw badRequest(`address ${text}: missing port in address`)
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
    throw badRequest(`parse "${text}": invalid port ":${port}" after host`)
  return { host: (match[1] ?? match[2]) || '127.0.0.1', port: Number(port) }
}
