import { formatPlatform, normalizePlatform, type Platform, parsePlatform } from '../../oci/platform.ts'
import type { Lookup } from '../dockerfile/types.ts'

/** With the version of a system in its parentheses, as names of contexts and steps have it. */
export const platformText = (platform: Platform): string => {
  const { 'os.version': version, os, ...rest } = platform
  return formatPlatform({ ...rest, os: version ? `${os}(${version})` : os })
}

export const samePlatform = (one: Platform, other: Platform): boolean =>
  one.os === other.os && one.architecture === other.architecture

/** `TARGETARCH` and such, as far as build arguments do not say otherwise. */
export const platformArguments = (
  build: Platform,
  target: Platform,
  stage: string,
): Readonly<Record<string, string>> => ({
  BUILDPLATFORM: formatPlatform(build),
  BUILDOS: build.os,
  BUILDOSVERSION: build['os.version'] ?? '',
  BUILDARCH: build.architecture,
  BUILDVARIANT: build.variant ?? '',
  TARGETPLATFORM: platformText(target),
  TARGETOS: target.os,
  TARGETOSVERSION: target['os.version'] ?? '',
  TARGETARCH: target.architecture,
  TARGETVARIANT: target.variant ?? '',
  TARGETSTAGE: stage,
})

/** What a stage says that it builds for. */
const declaredPlatform = (env: Lookup): Partial<Platform> | undefined => {
  const whole = env('TARGETPLATFORM')
  const parsed = whole === undefined ? undefined : parsePlatform(whole)
  if (parsed) return parsed
  const [os, architecture, variant] = [env('TARGETOS'), env('TARGETARCH'), env('TARGETVARIANT')]
  if (os === undefined && architecture === undefined && variant === undefined) return undefined
  return {
    ...(os ? { os } : {}),
    ...(architecture ? { architecture } : {}),
    ...(variant ? { variant } : {}),
  }
}

/** `->arm64` where a stage builds for another platform than it runs on. */
export const crossTarget = (runs: Platform, env: Lookup): string => {
  const declared = declaredPlatform(env)
  if (!declared) return ''
  const target = normalizePlatform({
    ...declared,
    os: declared.os ?? runs.os,
    architecture: declared.architecture ?? runs.architecture,
  })
  if (samePlatform(target, runs)) return ''
  if (target.os !== runs.os) return `->${platformText(target)}`
  return `->${[target.architecture, target.variant].filter(Boolean).join('/')}`
}
