import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Name } from './files.ts'
import { setXattr } from './xattrs.ts'

/** SELinux, on hosts that have it. */

/** Looked up once: it is on or off from the boot. */
export const hostHasSelinux = (() => {
  let known: boolean | undefined
  return (): boolean => {
    known ??= existsSync('/sys/fs/selinux/enforce')
    return known
  }
})()

/** What the policy gives containers: contexts of processes and of files. Empty where it has none. */
export interface ContainerContexts {
  process: string
  file: string
}

const readOr = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

const policyOf = (config: string): string => /^SELINUXTYPE=(\S+)/m.exec(config)?.[1] ?? 'targeted'

/** The form of lxc_contexts(5): `process = "user:role:type:level"`. */
export const parseContexts = (text: string): ContainerContexts => {
  const value = (key: string): string =>
    new RegExp(`^\\s*${key}\\s*=\\s*"([^"]*)"`, 'm').exec(text)?.[1] ?? ''
  return { process: value('process'), file: value('file') }
}

export const readContexts = (): ContainerContexts => {
  const policy = policyOf(readOr('/etc/selinux/config') ?? '')
  const text =
    readOr('/usr/share/containers/selinux/contexts') ??
    readOr(path.join('/etc/selinux', policy, 'contexts/lxc_contexts'))
  return parseContexts(text ?? '')
}

/** Sets the context of a file, not of what a symlink leads to. */
export const setContext = (file: Name, context: string): void =>
  setXattr(file, 'security.selinux', Buffer.from(`${context}\0`))
