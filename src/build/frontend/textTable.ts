/** Rows in columns as wide as their longest cell and some spaces; the last one's cells are as long as they are. */
export const textTable = (rows: readonly string[][], spaces: number): string => {
  const widths: number[] = []
  for (const row of rows)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, [...cell].length + spaces)
  const line = (row: string[]): string =>
    row
      .map((cell, at) =>
        at === row.length - 1 ? cell : cell + ' '.repeat((widths[at] ?? 0) - [...cell].length),
      )
      .join('')
  return rows.map(row => `${line(row)}\n`).join('')
}
