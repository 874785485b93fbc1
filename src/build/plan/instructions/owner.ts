import type { InputIndex, Owner } from '../../graph/types.ts'

const part = (text: string): string => (text === 'root' ? '0' : text)

/** `user:group` as `--chown` has it; `names`: whose files know them. */
export const ownerOf = (text: string, names: InputIndex | 'base' = 'base'): Owner => {
  const colon = text.indexOf(':')
  const user = colon < 0 ? text : text.slice(0, colon)
  const group = colon < 0 ? undefined : text.slice(colon + 1)
  return {
    ...(user === '' ? {} : { user: part(user) }),
    ...(group === undefined || group === '' ? {} : { group: part(group) }),
    names,
  }
}
