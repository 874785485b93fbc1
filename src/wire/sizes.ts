import { badRequest } from '../core/errors.ts'

/** Sizes as Docker's options have them: some in units of 1024, some of 1000, whatever letters they have. */

const powers = ['', 'k', 'm', 'g', 't', 'p']
const form = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i

const parse = (text: string, base: number): number | undefined => {
  const match = form.exec(text.trim())
  const power = powers.indexOf((match?.[2] ?? '').toLowerCase())
  return match ? Math.floor(Number(match[1]) * base ** power) : undefined
}

/** `10m`, `1.5g`, `2048` in bytes, in units of 1024; undefined if it is no size. */
export const parseSize = (text: string): number | undefined => parse(text, 1024)

/** The same in units of 1000, as Docker takes the `max-size` of logs. */
export const parseDecimalSize = (text: string): number | undefined => parse(text, 1000)

const orRefuse = (size: number | undefined, text: string, words: string): number => {
  if (size === undefined) throw badRequest(`${words}invalid size: '${text}'`)
  return size
}

/** As `parseSize`. Errors: `bad-request` in Docker's words, behind those of the caller. */
export const readSize = (text: string, words = ''): number => orRefuse(parseSize(text), text, words)

/** As `parseDecimalSize`. Errors: as `readSize`. */
export const readDecimalSize = (text: string, words = ''): number =>
  orRefuse(parseDecimalSize(text), text, words)
