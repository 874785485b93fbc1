import { randomInt } from 'node:crypto'
import type { ContainerContexts } from '../../linux/selinux.ts'
import type { UpperMount } from '../../store/types.ts'
import type { HostConfig } from '../../wire/container.ts'
import type { Engine } from '../engine.ts'
import { parseSecurityOptions } from './securityOptions.ts'
import type { ContainerRecord } from './types.ts'

/** The SELinux contexts of containers, where the host has it and `selinux-enabled` is set. */

export interface SelinuxLabels {
  /** Of its processes; empty for those of the runtime itself. */
  process: string
  /** Of its files. */
  mount: string
}

const categories = 1024

/** `user:role:type[:level]`; a level has colons itself. */
const partsOf = (context: string): string[] => {
  const [user = '', role = '', type = '', ...level] = context.split(':')
  return level.length > 0 ? [user, role, type, level.join(':')] : [user, role, type]
}

const places = { user: 0, role: 1, type: 2, level: 3 } as const

const withPart = (context: string, part: keyof typeof places, value: string): string => {
  const parts = partsOf(context)
  parts[places[part]] = value
  return parts.join(':')
}

const levelOf = (context: string): string => partsOf(context)[places.level] ?? ''

/** Two categories that no other container has: what keeps containers of one type apart. */
const freeLevel = (taken: ReadonlySet<string>): string => {
  for (;;) {
    const [low, high] = [randomInt(categories), randomInt(categories)].sort((a, b) => a - b)
    const level = `s0:c${low},c${high}`
    if (low !== high && !taken.has(level)) return level
  }
}

/** Files of a container whose processes have no label: of a level that no other container is given. */
const apartLevel = `s0:c${categories - 2},c${categories - 1}`

/** What `--security-opt label=…` makes of the policy's contexts; undefined where the policy has none for containers. */
export const labelsOf = (
  contexts: ContainerContexts,
  options: readonly string[],
  taken: ReadonlySet<string>,
): SelinuxLabels | undefined => {
  if (contexts.process === '' || contexts.file === '') return undefined
  if (options.includes('disable')) return { process: '', mount: withPart(contexts.file, 'level', apartLevel) }
  let { process, file: mount } = contexts
  if (levelOf(process) !== '') {
    const level = freeLevel(new Set([...taken, apartLevel]))
    process = withPart(process, 'level', level)
    mount = withPart(mount, 'level', level)
  }
  for (const option of options) {
    const at = option.indexOf(':')
    const [name, value] = [option.slice(0, at), option.slice(at + 1)]
    if (name === 'filetype') mount = withPart(mount, 'type', value)
    else process = withPart(process, name as keyof typeof places, value)
    if (name === 'level' || name === 'user') mount = withPart(mount, name, value)
  }
  return { process, mount }
}

/** Options that give another container the same label, as `label=` takes them. */
export const sameLabelOptions = (context: string): string[] =>
  Object.entries(places).flatMap(([name, place]) => {
    const value = partsOf(context)[place]
    return value ? [`${name}:${value}`] : []
  })

/** The contexts of a new container; undefined where SELinux is off. */
export const newLabels = (
  engine: Engine,
  { SecurityOpt: options = [] }: HostConfig,
): SelinuxLabels | undefined => {
  const { selinux } = engine.settings.security
  if (!selinux) return undefined
  const levels = engine.containers.all().map(({ record }) => levelOf(record.selinux?.mount ?? ''))
  return labelsOf(selinux, parseSecurityOptions(options).labels, new Set(levels))
}

/** How a container's root is to be mounted. */
export const rootOptions = ({ selinux, idMaps }: ContainerRecord): UpperMount => ({
  ...(selinux ? { label: selinux.mount } : {}),
  ...(idMaps ? { owners: idMaps } : {}),
})
