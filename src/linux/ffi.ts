import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import koffi from 'koffi'

/**
 * The C library through koffi. Every binding in this folder is made by `sys`,
 * which turns -1 into a SystemError that carries errno's name.
 */
export const libc = koffi.load('libc.so.6')

/** Some numbers have two names; the first in alphabetical order is the usual one. */
const names = new Map<number, string>()
for (const [name, value] of Object.entries(constants.errno).sort(([a], [b]) => (a < b ? -1 : 1)))
  if (!names.has(value)) names.set(value, name)

/** Node makes it anew at each call. */
let errorMap: ReturnType<typeof getSystemErrorMap> | undefined

/** A failed system call: `code` is errno's name (`ENOENT`), as in Node's own errors; the message has the C library's words for it, too. */
export class SystemError extends Error {
  readonly code: string
  readonly errno: number
  readonly syscall: string

  constructor(syscall: string, errno: number, detail = '') {
    const code = names.get(errno) ?? `errno ${errno}`
    errorMap ??= getSystemErrorMap()
    const words = errorMap.get(-errno)?.[1]
    super(`${syscall}${detail && ` ${detail}`}: ${words ? `${words} (${code})` : code}`)
    this.name = 'SystemError'
    this.code = code
    this.errno = errno
    this.syscall = syscall
  }
}

export const errno = (): number => koffi.errno()

/**
 * Binds a libc function by its C prototype. The result throws SystemError
 * where the call returns a negative number, and returns that number otherwise.
 */
export const sys = (prototype: string): ((...args: unknown[]) => number) => {
  const call = libc.func(prototype)
  const name = /(\w+)\s*\(/.exec(prototype)?.[1] ?? prototype
  return (...args) => {
    const result = Number(call(...args))
    if (result < 0) {
      const strings = args.filter(value => typeof value === 'string')
      throw new SystemError(name, koffi.errno(), strings.join(' '))
    }
    return result
  }
}

export { koffi }
