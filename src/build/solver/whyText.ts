import type { Cause } from './why.ts'

/** Why a step ran, in plain words: `the build argument VERSION was 1 and is 2`. */

/** Characters of a value that are shown. */
const mostShown = 200

/** What must not reach a terminal. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/** A value on one line; quoted where it could be misread. */
const shown = (value: string): string => {
  const short = value.length > mostShown ? `${value.slice(0, mostShown)}…` : value
  return short === '' || unprintable.test(short) || short.trim() !== short
    ? JSON.stringify(short).replaceAll(/[\u007f-\u009f\u2028\u2029]/g, '\ufffd')
    : short
}

const turned = (what: string, { before, after }: { before?: string; after?: string }): string => {
  if (before === undefined) return `${what} is ${shown(after ?? '')}, and was not given before`
  if (after === undefined) return `${what} was ${shown(before)}, and is not given any more`
  return `${what} was ${shown(before)} and is ${shown(after)}`
}

/** What a mount is told by is long and made for comparing: only that it differs is said. */
const mountText = ({ target, before, after }: Cause & { kind: 'mount' }): string => {
  if (before === undefined) return `the mount at ${shown(target)} is new`
  if (after === undefined) return `the mount at ${shown(target)} is not there any more`
  return `the mount at ${shown(target)} has other options`
}

const fileText = ({ path, change, before, after }: Cause & { kind: 'file' }): string => {
  const whole = `/${path.replace(/^\/+/, '')}`
  const what = path.endsWith('/') ? `something in the folder ${shown(whole)}` : `the file ${shown(whole)}`
  if (change === 'added') return `${what} is new`
  if (change === 'removed') return `${what} is not there any more`
  return before === undefined || after === undefined
    ? `${what} changed`
    : `${what} changed (before ${before}, now ${after})`
}

/** Without `not cached:`; one line, whatever the values are. */
export const whyText = (cause: Cause): string => {
  switch (cause.kind) {
    case 'ignored':
      return 'it was to be made anew (--no-cache, --no-cache-filter)'
    case 'first':
      return 'nothing like it was made before'
    case 'pruned':
      return 'it was pruned'
    case 'lost':
      return 'its files were not there any more'
    case 'instruction':
      return turned('the instruction', cause)
    case 'argument':
      return turned(`the build argument ${shown(cause.name)}`, cause)
    case 'variable':
      return turned(`the variable ${shown(cause.name)}`, cause)
    case 'platform':
      return turned('the platform', cause)
    case 'mount':
      return mountText(cause)
    case 'setting':
      return turned(`the ${shown(cause.name)}`, cause)
    case 'parent':
      return `the step before it (${shown(cause.from)}) gave something else`
    case 'file':
      return fileText(cause)
    case 'content':
      return `what it takes of ${shown(cause.from)} changed`
  }
}
