/** Whether a version as `6.12.0-amd64` is `wanted` or later: the numbers between dots count, missing ones are 0. */
export const isVersionAtLeast = (version: string, wanted: string): boolean => {
  const have = version.split('.').map(part => Number.parseInt(part, 10) || 0)
  const need = wanted.split('.').map(Number)
  const differs = need.findIndex((number, index) => number !== (have[index] ?? 0))
  return differs === -1 || (have[differs] ?? 0) > (need[differs] ?? 0)
}
