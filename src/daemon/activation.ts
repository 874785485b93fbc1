import { badRequest, hasCode } from '../core/errors.ts'
import { closeOnExec } from '../linux/descriptors.ts'

/** Listening sockets that systemd made and passed on: sd_listen_fds(3). */
export interface ActivatedSocket {
  fd: number
  /** `FileDescriptorName=` of the socket unit; `unknown` where there is none. */
  name: string
}

const firstDescriptor = 3

let inherited: ActivatedSocket[] | undefined

/** What the environment tells; nothing where it was meant for another process. */
export const parseActivation = (env: Record<string, string | undefined>, pid: number): ActivatedSocket[] => {
  const count = Number(env['LISTEN_FDS'] ?? 0)
  if (Number(env['LISTEN_PID']) !== pid || !Number.isInteger(count) || count <= 0) return []
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':')
  return Array.from({ length: count }, (_, index) => ({
    fd: firstDescriptor + index,
    name: names[index] || 'unknown',
  }))
}

/** Takes them once, so that no program started here gets them, too. */
export const takeActivated = (): ActivatedSocket[] => {
  if (inherited) return inherited
  inherited = parseActivation(process.env, process.pid)
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name]
  try {
    for (const { fd } of inherited) closeOnExec(fd)
  } catch (error) {
    if (!hasCode(error, 'EBADF')) throw error
    throw badRequest(
      'LISTEN_FDS names descriptors that are not open: start the daemon by its systemd socket unit, or unset it',
      error,
    )
  }
  return inherited
}

/** Sockets that `fd://WHICH` means: all, one by its number, or those of a name. Errors: `bad-request`. */
export const chooseActivated = (sockets: readonly ActivatedSocket[], which: string): ActivatedSocket[] => {
  if (sockets.length === 0)
    throw badRequest(
      'no sockets found via socket activation: make sure the service was started by systemd (and its socket unit is enabled)',
    )
  if (which === '' || which === '*') return [...sockets]
  const chosen = sockets.filter(({ fd, name }) => String(fd) === which || name === which)
  if (chosen.length === 0)
    throw badRequest(
      `fd://${which}: systemd passed no such socket: there are ${sockets.map(({ fd, name }) => `${fd} (${name})`).join(', ')}`,
    )
  return chosen
}

export const activatedSockets = (which: string): ActivatedSocket[] => chooseActivated(takeActivated(), which)
