import { spawnSync } from 'node:child_process'
import { globSync, readdirSync, readFileSync } from 'node:fs'

/** What tests may leave on a machine, each as one line: the suite compares before and after. */

const list = (folder: string): string[] => {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

const isOurs = (text: string): boolean => /\/tmp\/berth-|\bberth[-_]/.test(text)

const mounts = (): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4] ?? '')
    .filter(isOurs)

const processes = (): string[] =>
  list('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        return /^berth-monitor|daemon\/main\.ts/.test(command) || command.includes('/tmp/berth-')
          ? [`${pid} ${command}`]
          : []
      } catch {
        return []
      }
    })

const output = (command: string, ...args: string[]): string[] =>
  (spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '').split('\n').filter(Boolean)

export const leftovers = (): Set<string> =>
  new Set([
    ...mounts().map(mount => `mount ${mount}`),
    ...list('/run/netns').map(name => `network namespace ${name}`),
    ...output('ip', '-o', 'link').map(line => `link ${line.split(': ')[1]}`),
    ...output('nft', 'list', 'tables').map(table => `nft ${table}`),
    ...globSync('/sys/fs/cgroup/{*/,}berth*').map(group => `control group ${group}`),
    ...processes().map(process => `process ${process}`),
    ...list('/tmp')
      .filter(name => name.startsWith('berth-'))
      .map(name => `file /tmp/${name}`),
  ])
