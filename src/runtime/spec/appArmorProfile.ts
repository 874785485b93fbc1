/**
 * The AppArmor profile of containers that name none. It goes beside the
 * namespaces: what is masked or mounted read-only in a container stays out of
 * reach even where something mounts it anew.
 */
export interface ProfileHost {
  /** Whose signals reach containers: the profile of this daemon. */
  daemon: string
  /** Whether a file of /etc/apparmor.d is there. */
  has: (file: string) => boolean
}

const quoted = (name: string): string => `"${name.replaceAll('"', '')}"`

/** Globs of what may not be written. Process folders begin with a digit, and only `shm*` of sysctls is left open. */
const readOnly = [
  ...['*', '[^1-9s]*/**', '{scsi,sysvipc}/**', 'sys/[^k]**', 'sys/k[^e]**'],
  ...['sys/kernel/[^s]**', 'sys/kernel/s[^h]**', 'sys/kernel/sh[^m]**'],
].map(glob => `@{PROC}/${glob}`)

const hidden = ['@{PROC}/sysrq-trigger', '@{PROC}/kcore', '/sys/firmware/**', '/sys/kernel/security/**']

/** All of /sys but the control groups. */
const frozen = ['/sys/[^f]*/**', '/sys/f[^s]*/**', '/sys/fs/[^c]*/**', '/sys/fs/c[^g]*/**']

/** The text that apparmor_parser(8) takes. */
export const appArmorProfile = (name: string, { daemon, has }: ProfileHost): string => {
  const peers = ['unconfined', 'runc', 'crun', quoted(daemon)]
  return [
    ...(has('abi/3.0') ? ['abi <abi/3.0>,'] : []),
    has('tunables/global') ? '#include <tunables/global>' : '@{PROC}=/proc/',
    `profile ${quoted(name)} flags=(attach_disconnected,mediate_deleted) {`,
    ...(has('abstractions/base') ? ['#include <abstractions/base>'] : []),
    ...['network,', 'deny network alg,', 'capability,', 'file,', 'umount,', 'deny mount,'],
    ...[...new Set(peers)].map(peer => `signal (receive) peer=${peer},`),
    `signal (send,receive) peer=${quoted(name)},`,
    `ptrace (trace,tracedby,read,readby) peer=${quoted(name)},`,
    ...readOnly.map(glob => `deny ${glob} w,`),
    ...frozen.map(glob => `deny ${glob} wklx,`),
    ...[...hidden, '/sys/devices/virtual/powercap/**'].map(glob => `deny ${glob} rwklx,`),
    '}',
    '',
  ].join('\n')
}
