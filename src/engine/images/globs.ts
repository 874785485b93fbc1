/** Go's path.Match as a regular expression: `*` and `?` stop at a slash, `[…]` is a class, `\` takes the next letter as it is. */
export const globToRegExp = (pattern: string): RegExp => {
  const source = pattern.replace(
    /\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|([*?])|([.+^${}()|[\]\\])/g,
    (match, escaped, negated, group, wild, special) => {
      if (escaped !== undefined) return `\\${escaped}`
      if (group !== undefined) return `[${negated}${group}]`
      if (wild === '*') return '[^/]*'
      if (wild === '?') return '[^/]'
      return special === undefined ? match : `\\${special}`
    },
  )
  return new RegExp(`^${source}$`)
}
