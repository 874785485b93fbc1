import type { ContainerConfig } from '../../wire/container.ts'

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Later entries replace earlier ones of the same name; `NAME` alone removes it. */
const replace = (base: string[], overrides: readonly string[]): string[] => {
  const result = new Map(base.map(entry => [entry.split('=', 1)[0] ?? '', entry]))
  for (const entry of overrides) {
    const name = entry.split('=', 1)[0] ?? ''
    if (entry.includes('=')) result.set(name, entry)
    else result.delete(name)
  }
  return [...result.values()]
}

/** The environment of a container's process: PATH, HOSTNAME and TERM first, as Docker has them, then what was asked. */
export const processEnv = (options: {
  config: Pick<ContainerConfig, 'Env' | 'Hostname'>
  terminal: boolean
  home: string
  /** Of links: what was asked comes before. */
  links: readonly string[]
  extra?: readonly string[]
}): string[] => {
  const base = [`PATH=${defaultPath}`]
  if (options.config.Hostname) base.push(`HOSTNAME=${options.config.Hostname}`)
  if (options.terminal) base.push('TERM=xterm')
  const env = replace(base, [...options.links, ...(options.config.Env ?? []), ...(options.extra ?? [])])
  return env.some(entry => entry.startsWith('HOME=')) ? env : [...env, `HOME=${options.home}`]
}
