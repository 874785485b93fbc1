import { badRequest } from '../../core/errors.ts'
import type { HostConfig } from '../../wire/container.ts'

/** What all steps of a build may have, as a container's limits; bytes, microseconds. Part of no operation, and so of no key. */
export type StepLimits = Pick<
  HostConfig,
  'Memory' | 'MemorySwap' | 'CpuShares' | 'CpuPeriod' | 'CpuQuota' | 'CpusetCpus' | 'CpusetMems'
>

type Given = Readonly<Record<string, string>>

/** By the names of BuildKit's attributes. */
const numbers = [
  ['memory', 'Memory'],
  ['memswap', 'MemorySwap'],
  ['cpushares', 'CpuShares'],
  ['cpuperiod', 'CpuPeriod'],
  ['cpuquota', 'CpuQuota'],
] as const

const sets = [
  ['cpusetcpus', 'CpusetCpus'],
  ['cpusetmems', 'CpusetMems'],
] as const

const readNumber = (name: string, text: string): number => {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw badRequest(`invalid ${name} value: ${text}`)
  if (name === 'memswap' && (value === 0 || value < -1))
    throw badRequest(`invalid ${name} value: ${text}: must be -1 (unlimited) or > 0`)
  if (name !== 'memswap' && value <= 0) throw badRequest(`invalid ${name} value: ${text}: must be > 0`)
  return value
}

/** Empty for none. Errors: `bad-request` in BuildKit's words. */
export const readLimits = (given: Given): StepLimits => {
  const limits: StepLimits = {}
  for (const [name, key] of numbers) {
    const text = given[name]
    if (text) limits[key] = readNumber(name, text)
  }
  for (const [name, key] of sets) {
    const text = given[name]
    if (text) limits[key] = text
  }
  return limits
}

/** Microseconds of each period where only a quota is given. */
const usualPeriod = 100_000

const partOfTime = ({ CpuQuota: quota = 0, CpuPeriod: period = usualPeriod }: StepLimits): number =>
  quota <= 0 ? Number.POSITIVE_INFINITY : quota / period

const bandwidth = (a: StepLimits, b: StepLimits): StepLimits => {
  const { CpuQuota, CpuPeriod } = partOfTime(a) >= partOfTime(b) ? a : b
  return { ...(CpuQuota ? { CpuQuota } : {}), ...(CpuPeriod ? { CpuPeriod } : {}) }
}

/** Some number unless one of them has none. */
const larger = (a: number | undefined, b: number | undefined): number | undefined =>
  a && b ? Math.max(a, b) : undefined

const largerSwap = (a: number | undefined, b: number | undefined): number | undefined =>
  a === -1 || b === -1 ? -1 : larger(a, b)

/** Sets may overlap, which is allowed in one. */
const joined = (a: string | undefined, b: string | undefined): string | undefined =>
  a && b ? (a === b ? a : `${a},${b}`) : undefined

const defined = (limits: { [K in keyof StepLimits]: StepLimits[K] | undefined }): StepLimits =>
  Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))

const relaxed = (a: StepLimits, b: StepLimits): StepLimits => {
  const Memory = larger(a.Memory, b.Memory)
  return {
    ...defined({
      Memory,
      // Without a limit of memory there is none of swap.
      MemorySwap: Memory === undefined ? undefined : largerSwap(a.MemorySwap, b.MemorySwap),
      CpuShares: larger(a.CpuShares, b.CpuShares),
      CpusetCpus: joined(a.CpusetCpus, b.CpusetCpus),
      CpusetMems: joined(a.CpusetMems, b.CpusetMems),
    }),
    ...bandwidth(a, b),
  }
}

/** Of a step that several builds wait for: no build is held back by what another one was given. */
export const relaxedLimits = (all: readonly StepLimits[]): StepLimits =>
  all.length === 0 ? {} : all.reduce(relaxed)
