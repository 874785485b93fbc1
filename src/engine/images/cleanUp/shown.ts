/** Ages and sizes as plans of a clean-up tell them. */

const hour = 3_600_000

export const shownAge = (milliseconds: number): string => {
  const hours = Math.floor(milliseconds / hour)
  return hours > 0 ? `${hours}h` : `${Math.floor(milliseconds / 60_000)}m`
}

export const shownBytes = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let [value, unit] = [bytes, 0]
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${Number(value.toPrecision(4))} ${units[unit]}`
}
