import { badRequest } from '../../core/errors.ts'

/** Every Linux capability by number (capabilities(7), Linux 5.9). */
const all = `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE
SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL
SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`
  .split(/\s+/)
  .map(name => `CAP_${name}`)

const byDefault =
  `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
SYS_CHROOT KILL AUDIT_WRITE`
    .split(/\s+/)
    .map(name => `CAP_${name}`)

/** The names of the bits of a mask such as CapBnd in /proc/self/status. */
export const capabilitiesOfMask = (mask: bigint): string[] =>
  all.filter((_, bit) => (mask >> BigInt(bit)) & 1n)

/** `net_admin`, `CAP_NET_ADMIN`, `ALL` in their one form. Errors: `bad-request`. */
const canonicalNames = (names: readonly string[], option: string): string[] =>
  names.map(given => {
    const upper = given.toUpperCase()
    if (upper === 'ALL') return upper
    const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
    if (!all.includes(name)) throw badRequest(`invalid ${option}: unknown capability: "${name}"`)
    return name
  })

/**
 * The capabilities of a container. `host` are those that this daemon can give;
 * `ALL` and privileged mean these.
 */
export const containerCapabilities = (request: {
  add: readonly string[]
  drop: readonly string[]
  privileged: boolean
  host: readonly string[]
}): string[] => {
  if (request.privileged) return [...request.host]
  const add = canonicalNames(request.add, 'CapAdd')
  const drop = canonicalNames(request.drop, 'CapDrop')
  if (add.includes('ALL')) return request.host.filter(name => !drop.includes(name))
  const kept = drop.includes('ALL') ? [] : byDefault.filter(name => !drop.includes(name))
  return [...new Set([...kept, ...add])]
}

/** To be called at create. `host` as above. Errors: `bad-request` for a name that is no capability, or none that this daemon can give. */
export const checkCapabilities = (request: {
  add: readonly string[]
  drop: readonly string[]
  host: readonly string[]
}): void => {
  for (const option of ['CapAdd', 'CapDrop'] as const)
    for (const name of canonicalNames(request[option === 'CapAdd' ? 'add' : 'drop'], option))
      if (name !== 'ALL' && !request.host.includes(name))
        throw badRequest(
          `invalid ${option}: capability not supported by your kernel or not available in the current environment: "${name}"`,
        )
}
