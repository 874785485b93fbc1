import { badRequest } from '../../../core/errors.ts'

/** What `--chmod` makes of a mode: 12 bits, and whether it is a directory's. */
export type ModeChange = (mode: number, isDirectory: boolean) => number

const USER = 0o4700
const GROUP = 0o2070
const OTHER = 0o0007
const ALL = USER | GROUP | OTHER
const EXECUTE = 0o111
const STICKY = 0o1000

const classes: Record<string, number> = { u: USER, g: GROUP, o: OTHER, a: ALL }
const letters: Record<string, number> = { r: 0o444, w: 0o222, x: EXECUTE }
const shifts: Record<string, number> = { u: 6, g: 3, o: 0 }

/** One `=rw` of a clause with the classes that it is for; 0 for all, as no umask counts. */
interface Change {
  who: number
  operator: string
  permissions: string
}

const clauseForm = /^([ugoa]*)((?:[-+=][rwxXstugo]*)+)$/

const readChanges = (text: string): Change[] =>
  text.split(',').flatMap(clause => {
    const [, who = '', changes = ''] = clauseForm.exec(clause) ?? []
    if (changes === '') throw badRequest(`invalid mode ${JSON.stringify(text)}: invalid syntax`)
    const bits = [...who].reduce((sum, letter) => sum | (classes[letter] ?? 0), 0)
    return [...changes.matchAll(/([-+=])([rwxXstugo]*)/g)].map(([, operator = '', permissions = '']) => ({
      who: bits,
      operator,
      permissions,
    }))
  })

/** The bits of one class for all three. */
const spread = (mode: number, letter: string): number => ((mode >> (shifts[letter] ?? 0)) & 0o7) * 0o111

interface State {
  mode: number
  original: number
  isDirectory: boolean
}

/** The bits that the letters stand for, within the classes. */
const bitsOf = ({ who, operator, permissions }: Change, state: State): number => {
  const isOthersOnly = who !== 0 && (who & ~OTHER) === 0
  let bits = 0
  for (const letter of permissions) {
    if (letter in letters) bits |= letters[letter] ?? 0
    else if (letter in shifts) bits |= spread(state.mode, letter)
    else if (letter === 's') bits |= isOthersOnly ? 0 : 0o6000
    else if (letter === 't') bits |= isOthersOnly ? 0 : STICKY
    else if (operator === '-' || state.isDirectory || (state.original & EXECUTE) !== 0) bits |= EXECUTE
  }
  return bits & ((who === 0 ? ALL : who) | STICKY)
}

const apply = (change: Change, state: State): number => {
  const bits = bitsOf(change, state)
  if (change.operator === '+') return state.mode | bits
  if (change.operator === '-') return state.mode & ~bits
  return (state.mode & ~(change.who === 0 ? ALL : change.who)) | bits
}

/** Octal, or as chmod(1) has it: `u=rwX,go=rX`. Errors: `bad-request`. */
export const parseMode = (text: string): ModeChange => {
  const octal = octalMode(text)
  if (octal !== undefined) return () => octal
  const changes = readChanges(text)
  return (original, isDirectory) => {
    const state = { mode: original, original, isDirectory }
    for (const change of changes) state.mode = apply(change, state)
    return state.mode
  }
}

/** Undefined for one that is written otherwise. */
export const octalMode = (text: string): number | undefined =>
  /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) & 0o7777 : undefined
