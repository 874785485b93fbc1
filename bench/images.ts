import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { OutgoingMember } from '../src/archive/writer.ts'
import { busyboxLayer, directory, dockerArchive, file, projectRoot } from '../tests/harness/images.ts'

/** Archives for the rows, made once and kept in `.cache/bench`. */
const cache = path.join(projectRoot, '.cache/bench')

const archive = async (
  name: string,
  layer: () => OutgoingMember[],
  more: (() => OutgoingMember[])[] = [],
): Promise<string> => {
  const target = path.join(cache, `${name}.tar`)
  if (existsSync(target)) return target
  mkdirSync(cache, { recursive: true })
  const bytes = await dockerArchive([
    { tags: [`bench-${name}:latest`], layers: [layer, ...more].map(made => made()) },
  ])
  writeFileSync(`${target}.${process.pid}`, bytes)
  renameSync(`${target}.${process.pid}`, target)
  return target
}

export const lineCount = 500_000

/** Busybox with `/lines`: half a million lines of 80 bytes with their newline. */
export const linesArchive = (): Promise<string> =>
  archive('lines', () => [
    ...busyboxLayer(),
    file('lines', `${'0123456789'.repeat(8).slice(1)}\n`.repeat(lineCount)),
  ])

export const filesCount = 49_000

/** As a folder of modules: small files, ten a folder. */
export const modules = (first: number, count: number): OutgoingMember[] => {
  const members: OutgoingMember[] = [directory('modules')]
  const text = 'export const value = 1 // a line of a small module\n'
  for (let index = first; index < first + count; index++) {
    const folder = `modules/package-${Math.floor(index / 10)}`
    if (index % 10 === 0) members.push(directory(folder))
    members.push(file(`${folder}/file-${index}.js`, text.repeat(1 + (index % 60))))
  }
  return members
}

/** Half of it compresses to nearly nothing, half not at all. */
export const halfPacked = (name: string, bytes: number): OutgoingMember =>
  file(
    name,
    Buffer.concat([
      randomBytes(bytes / 2),
      Buffer.from('a line of a program that repeats itself\n'.repeat(bytes / 80)),
    ]),
  )

/** An image with new layers, as a build leaves them. */
export const builtArchive = (): Promise<string> =>
  archive('built', () => [...busyboxLayer(), halfPacked('program', 60_000_000)], [
    () => [halfPacked('library', 40_000_000)],
    () => [halfPacked('data', 20_000_000)],
    () => modules(0, 4_000),
  ])

export const filesArchive = (): Promise<string> => archive('files', () => modules(0, filesCount))

/** One layer of 500 MB that no compression makes smaller. */
export const largeArchive = (): Promise<string> =>
  archive('large', () => [file('data', randomBytes(500_000_000))])
