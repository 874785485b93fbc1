import { badRequest } from '../../core/errors.ts'

const defaultKeys = 'ctrl-p,ctrl-q'
const control: Record<string, number> = { '@': 0, '[': 27, '\\': 28, ']': 29, '^': 30, _: 31 }

const byteOf = (key: string, all: string): number => {
  const invalid = (): Error =>
    badRequest(`Invalid detach keys (${all}) specified: Unknown character: '${key}'`)
  const match = /^ctrl-(.)$/i.exec(key)
  if (!match?.[1]) {
    if (key.length === 1 && key.charCodeAt(0) < 128) return key.charCodeAt(0)
    throw invalid()
  }
  const letter = match[1].toLowerCase()
  if (letter >= 'a' && letter <= 'z') return letter.charCodeAt(0) - 96
  const special = control[letter]
  if (special === undefined) throw invalid()
  return special
}

/** `ctrl-p,ctrl-q` as the bytes a terminal sends. Errors: `bad-request`. */
export const parseDetachKeys = (text: string | undefined): Uint8Array => {
  const keys = text === undefined || text === '' ? defaultKeys : text
  return Uint8Array.from(keys.split(','), key => byteOf(key, keys))
}
