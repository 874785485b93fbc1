import { readFileSync } from 'node:fs'

/** The number of a user or a group of this host, or of one given by its number; undefined where there is none. */
export const idIn = (file: '/etc/passwd' | '/etc/group', name: string): number | undefined => {
  if (/^\d+$/.test(name)) return Number(name)
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .find(entry => entry.startsWith(`${name}:`))
  return line === undefined ? undefined : Number(line.split(':')[2])
}
