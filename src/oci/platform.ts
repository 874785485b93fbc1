/** A platform of the OCI image index, and the rules by which one is chosen for a host. */
export interface Platform {
  architecture: string
  os: string
  variant?: string
  'os.version'?: string
  'os.features'?: string[]
}

const architectures: Record<string, string> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
  ppc64: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
}

/** GOARCH's name for Node's architecture name. */
export const architectureOf = (nodeArch: string): string => architectures[nodeArch] ?? nodeArch

const aliases: Record<string, string> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  aarch64: 'arm64',
  i386: '386',
  armhf: 'arm',
  armel: 'arm',
}

const defaultVariant = (architecture: string): string | undefined =>
  architecture === 'arm64' ? 'v8' : architecture === 'arm' ? 'v7' : undefined

/** Canonical names, with the default variant left out (`arm64/v8` is `arm64`). */
export const normalizePlatform = (platform: Platform): Platform => {
  const architecture = aliases[platform.architecture] ?? platform.architecture
  const variant = platform.variant ?? (platform.architecture === 'armel' ? 'v6' : undefined)
  const { variant: _drop, ...rest } = platform
  const result: Platform = { ...rest, architecture }
  if (
    variant &&
    !(architecture === 'arm64' && variant === 'v8') &&
    !(architecture === 'amd64' && variant === 'v1')
  )
    result.variant = variant
  return result
}

/** `linux/arm64/v8`, as `--platform` takes it; undefined if it has no such form. */
export const parsePlatform = (text: string): Platform | undefined => {
  const parts = text.split('/')
  if (parts.some(part => !/^[A-Za-z0-9_.()-]+$/.test(part)) || parts.length > 3) return undefined
  const [first, second, variant] = parts
  if (!first) return undefined
  if (!second) {
    const known = Object.values(architectures).includes(first) || first in aliases
    return known ? normalizePlatform({ os: 'linux', architecture: first }) : undefined
  }
  const platform: Platform = { os: first.toLowerCase(), architecture: second.toLowerCase() }
  if (variant) platform.variant = variant.toLowerCase()
  return normalizePlatform(platform)
}

/** `linux/arm64/v8`, as users write it. */
export const formatPlatform = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, variant].filter(Boolean).join('/')

/**
 * How well an image platform runs on a wanted one: 0 does not run, larger is
 * better. An older arm variant runs on a newer one.
 */
export const platformScore = (image: Platform, wanted: Platform): number => {
  const a = normalizePlatform(image)
  const b = normalizePlatform(wanted)
  if (a.os !== b.os || a.architecture !== b.architecture) return 0
  const have = a.variant ?? defaultVariant(a.architecture) ?? ''
  const want = b.variant ?? defaultVariant(b.architecture) ?? ''
  if (have === want) return 100
  const [h, w] = [Number(have.slice(1)), Number(want.slice(1))]
  if (a.architecture === 'arm' && h <= w) return 50 + h
  return 0
}
