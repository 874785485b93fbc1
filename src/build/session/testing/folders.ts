import { createHash } from 'node:crypto'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'

/** Folders that tests sync. */

/** All of a folder that a build can see, but owners. */
export const picture = (folder: string, below = ''): string[] =>
  readdirSync(path.join(folder, below))
    .toSorted()
    .flatMap(name => {
      const relative = path.join(below, name)
      const full = path.join(folder, relative)
      const stat = lstatSync(full, { bigint: true })
      const what = stat.isSymbolicLink()
        ? readlinkSync(full)
        : stat.isFile()
          ? createHash('sha256').update(readFileSync(full)).digest('hex')
          : ''
      const line = `${relative} ${stat.mode.toString(8)} ${stat.mtimeNs} ${what}`
      return stat.isDirectory() ? [line, ...picture(folder, relative)] : [line]
    })

/** One of each kind of entry, and names that are sorted otherwise as text than as paths. */
export const fill = (source: string): void => {
  mkdirSync(path.join(source, 'a/b'), { recursive: true })
  mkdirSync(path.join(source, 'a.d'))
  writeFileSync(path.join(source, 'a/b/one'), 'one\n')
  writeFileSync(path.join(source, 'a.d/two'), 'two\n', { mode: 0o755 })
  writeFileSync(path.join(source, 'a/empty'), '')
  writeFileSync(path.join(source, 'large'), Buffer.alloc(3_000_000, 'berth'))
  symlinkSync('../nowhere', path.join(source, 'a/link'))
  linkSync(path.join(source, 'a/b/one'), path.join(source, 'z-same'))
  chmodSync(path.join(source, 'a/b'), 0o1770)
  utimesSync(path.join(source, 'a/b'), 1_000, 1_000.25)
}
