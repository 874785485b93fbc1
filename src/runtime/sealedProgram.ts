import { readFileSync, statSync } from 'node:fs'
import { closeDescriptor, sealedMemoryFile } from '../linux/descriptors.ts'

/**
 * crun and runc protect their own file from the containers that they make: at
 * each call they copy (or bind) themselves and begin anew, which is a third of
 * their work. A program that runs from a sealed file in memory needs no such
 * protection, and both see that. So the daemon makes one copy, and the copy is
 * what monitors run.
 */
interface Copy {
  fd: number
  identity: string
}

const copies = new Map<string, Copy>()

const elfMagic = 0x7f454c46

const identityOf = (file: string): string => {
  const { dev, ino, size, mtimeMs, ctimeMs } = statSync(file)
  return [dev, ino, size, mtimeMs, ctimeMs].join(' ')
}

/**
 * A descriptor of the sealed copy of a program, owned here; a new one where the
 * file was replaced meanwhile. Undefined where there can be none (a script, a
 * host that forbids programs in memory): the file itself is to be run then.
 */
export const sealedProgram = (file: string): number | undefined => {
  try {
    const identity = identityOf(file)
    const known = copies.get(file)
    if (known?.identity === identity) return known.fd
    const bytes = readFileSync(file)
    if (bytes.length < 4 || bytes.readUInt32BE(0) !== elfMagic) return undefined
    const fd = sealedMemoryFile('berth-runtime', bytes)
    if (known) closeDescriptor(known.fd)
    copies.set(file, { fd, identity })
    return fd
  } catch {
    return undefined
  }
}
