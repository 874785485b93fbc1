import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { DaemonOptions } from './daemon.ts'

/** Users with subordinate ids for daemons of tests, in a folder that stands in for /etc: the machine's own stay as they are. */
export interface RemappedUsers extends Disposable {
  folder: string
  env: Record<string, string>
}

/** What root of a container is outside, by the lines below. */
export const mappedRoot = { uid: 200_000, gid: 300_000 }
/** The first range has so many ids, the second one the rest. */
export const firstRange = 1000
/** Where the second ranges begin. */
export const secondRange = { uid: 500_000, gid: 600_000 }

export const remappedUsers = (): RemappedUsers => {
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-etc-'))
  const file = (name: string, lines: string[]): void =>
    writeFileSync(path.join(folder, name), lines.map(line => `${line}\n`).join(''))
  file('passwd', ['root:x:0:0::/root:/bin/sh', 'mapped:x:4321:4322::/:/bin/false', 'none:x:4400:4400::/:'])
  file('group', ['root:x:0:', 'mapped:x:4321:', 'others:x:4500:', 'none:x:4400:'])
  file('subuid', [
    `mapped:${mappedRoot.uid}:${firstRange}`,
    'somebody:100000:65536',
    `4321:${secondRange.uid}:${65536 - firstRange}`,
  ])
  file('subgid', [
    `mapped:${mappedRoot.gid}:${firstRange}`,
    `mapped:${secondRange.gid}:${65536 - firstRange}`,
  ])
  return {
    folder,
    env: { BERTH_TEST_ETC: folder },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** For a daemon whose containers get user namespaces. */
export const remapping = ({ env }: RemappedUsers): DaemonOptions => ({
  flags: ['--userns-remap=mapped'],
  env,
})
