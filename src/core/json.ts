/** JSON with 64-bit integers: BigInt is written by its digits (JSON.rawJSON, ES2026). */
const raw = JSON as unknown as { rawJSON(text: string): object }

export const stringify = (value: unknown): string =>
  JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === 'bigint' ? raw.rawJSON(entry.toString()) : entry,
  )
