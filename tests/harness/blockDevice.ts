import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** A block device of this machine, for limits that nothing here comes to feel. */
export const blockDevice = ((): { path: string; numbers: string } => {
  const all = readdirSync('/sys/block').filter(name => existsSync(`/dev/${name}`))
  const name = all.find(each => each === 'loop0') ?? all[0] ?? 'none'
  const numbers = readFileSync(path.join('/sys/block', name, 'dev'), 'utf8').trim()
  return { path: `/dev/${name}`, numbers }
})()
