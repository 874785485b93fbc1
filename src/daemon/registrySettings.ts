import { serverVersion } from '../api/server.ts'
import { badRequest } from '../core/errors.ts'
import { checkInsecure, checkMirror } from '../registry-client/hosts.ts'
import type { RegistrySettings } from '../registry-client/types.ts'
import type { Given } from './flags.ts'

/** What the daemon was told of registries. Errors: `bad-request` in Docker's words. */

const certificateFolders = ['/etc/berth/certs.d', '/etc/docker/certs.d', '/etc/containerd/certs.d']

const listOf = (values: Given, name: string): string[] => (values.get(name) as string[] | undefined) ?? []

const countOf = (
  values: Given,
  name: string,
  { least, otherwise }: { least: number; otherwise: number },
): number => {
  const count = (values.get(name) as number | undefined) ?? otherwise
  if (count < least) throw badRequest(`invalid ${name.replace(/-/g, ' ')}: ${count}`)
  return count
}

/** By option, by daemon.json's `proxies`, or by the environment, as Go's programs read it. */
const proxiesOf = (values: Given): RegistrySettings['proxies'] => {
  const file = (values.get('proxies') ?? {}) as Record<string, unknown>
  const proxy = (name: string, variable: string): string => {
    const option = values.get(name) ?? file[name]
    if (option !== undefined && typeof option !== 'string')
      throw badRequest(`proxies: ${name} must be a text, not ${JSON.stringify(option)}`)
    return option ?? process.env[variable] ?? process.env[variable.toLowerCase()] ?? ''
  }
  return {
    http: proxy('http-proxy', 'HTTP_PROXY'),
    https: proxy('https-proxy', 'HTTPS_PROXY'),
    no: proxy('no-proxy', 'NO_PROXY'),
  }
}

export const registrySettingsOf = (values: Given): RegistrySettings => ({
  mirrors: [...new Set(listOf(values, 'registry-mirror').map(checkMirror))],
  insecure: listOf(values, 'insecure-registry').map(checkInsecure),
  certificateFolders,
  proxies: proxiesOf(values),
  attempts: countOf(values, 'max-download-attempts', { least: 1, otherwise: 5 }),
  userAgent: `berth/${serverVersion}`,
})

/** Blobs that come at a time, for all pulls together. */
export const maxDownloadsOf = (values: Given): number =>
  // 0 is no bound, as with dockerd.
  countOf(values, 'max-concurrent-downloads', { least: 0, otherwise: 3 }) || Number.POSITIVE_INFINITY

/** Blobs that go at a time, for all pushes together. */
export const maxUploadsOf = (values: Given): number =>
  countOf(values, 'max-concurrent-uploads', { least: 0, otherwise: 5 }) || Number.POSITIVE_INFINITY
