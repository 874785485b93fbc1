import type { Row } from './types.ts'

/** True where a row has a limit and is on the wrong side of it. */
export const misses = ({ figure, limit }: Row): boolean => {
  if (!limit) return false
  // Not a number misses every limit.
  if (figure === undefined) return true
  return limit.kind === 'at most' ? !(figure <= limit.value) : !(figure >= limit.value)
}

const limitText = ({ limit }: Row): string =>
  limit ? `${limit.kind === 'at most' ? '≤' : '≥'} ${limit.value}` : ''

/** The rows as text, one a line, columns aligned. */
export const tableOf = (rows: readonly Row[]): string => {
  const head = ['row', 'measure', 'berth', 'against', 'figure', 'limit', '']
  const lines = [
    head,
    ...rows.map(row => [
      row.name,
      row.measure,
      row.ours,
      row.against,
      row.figure?.toFixed(2) ?? '?',
      limitText(row),
      row.limit ? (misses(row) ? 'MISSED' : 'ok') : '',
    ]),
  ]
  const widths = head.map((_, column) => Math.max(...lines.map(line => line[column]?.length ?? 0)))
  return lines
    .map(line =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
