/** The words of the third part of `-v SOURCE:PLACE:MODE`. */

export const propagations = ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']

const modeGroups = [
  ['ro', 'rw'],
  ['z', 'Z'],
  propagations,
  ['nocopy', 'copy'],
  ['consistent', 'cached', 'delegated'],
]

/** Each word is known, and no two say the same thing in different ways. */
export const isMode = (text: string): boolean => {
  if (text === '') return true
  const parts = text.split(',')
  if (parts.some(part => !modeGroups.flat().includes(part))) return false
  return modeGroups.every(group => parts.filter(part => group.includes(part)).length <= 1)
}
