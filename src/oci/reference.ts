import { badRequest } from '../core/errors.ts'
import { type Digest, isDigest } from './digest.ts'

/**
 * Image names as users write them and as they are stored. Grammar and defaults
 * are those of the distribution reference: `[domain/]path[:tag][@digest]`.
 */
export interface Reference {
  /** `docker.io` where none was given. */
  domain: string
  /** `library/busybox` */
  path: string
  tag?: string
  digest?: Digest
}

const defaultDomain = 'docker.io'
const pathPart = '[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*'
const pathForm = new RegExp(`^${pathPart}(?:/${pathPart})*$`)
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?'
const domainForm = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`)

const invalid = (): Error => badRequest('invalid reference format')

const splitDomain = (name: string): [domain: string, path: string] => {
  const slash = name.indexOf('/')
  const head = slash < 0 ? '' : name.slice(0, slash)
  const isDomain = /[.:]/.test(head) || head === 'localhost' || head.toLowerCase() !== head
  if (slash < 0 || !isDomain) return [defaultDomain, name]
  const domain = head === 'index.docker.io' ? defaultDomain : head
  return [domain, name.slice(slash + 1)]
}

/** Parses a user's image name. Errors: `bad-request` with Docker's words. */
export const parseReference = (text: string): Reference => {
  const at = text.indexOf('@')
  const digest = at < 0 ? undefined : text.slice(at + 1)
  const beforeDigest = at < 0 ? text : text.slice(0, at)
  const colon = beforeDigest.lastIndexOf(':')
  const hasTag = colon > beforeDigest.lastIndexOf('/')
  const tag = hasTag ? beforeDigest.slice(colon + 1) : undefined
  const name = hasTag ? beforeDigest.slice(0, colon) : beforeDigest
  if (/^[a-f0-9]{64}$/.test(name))
    throw badRequest(`invalid repository name (${name}), cannot specify 64-byte hexadecimal strings`)
  const [domain, remainder] = splitDomain(name)
  const path = domain === defaultDomain && !remainder.includes('/') ? `library/${remainder}` : remainder
  if (remainder.toLowerCase() !== remainder && pathForm.test(remainder.toLowerCase()))
    throw badRequest(`invalid reference format: repository name (${remainder}) must be lowercase`)
  if (!domainForm.test(domain) || !pathForm.test(path) || `${domain}/${path}`.length > 255) throw invalid()
  if (tag !== undefined && !tagForm.test(tag)) throw invalid()
  if (digest !== undefined && !isDigest(digest)) throw invalid()
  return {
    domain,
    path,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest: digest as Digest }),
  }
}

/** `busybox`, `example.org/team/app`: the name as Docker shows it. */
export const familiarName = (reference: Reference): string => {
  if (reference.domain !== defaultDomain) return `${reference.domain}/${reference.path}`
  return reference.path.replace(/^library\/(?=[^/]+$)/, '')
}

/** The name with its tag and digest, as Docker shows it. */
export const familiar = (reference: Reference): string =>
  familiarName(reference) +
  (reference.tag ? `:${reference.tag}` : '') +
  (reference.digest ? `@${reference.digest}` : '')

/** `docker.io/library/busybox:latest`: the key under which a tag is stored. */
export const canonical = (reference: Reference): string =>
  `${reference.domain}/${reference.path}` +
  (reference.tag ? `:${reference.tag}` : '') +
  (reference.digest ? `@${reference.digest}` : '')

/** Adds `:latest` where neither tag nor digest was given. */
export const withDefaultTag = (reference: Reference): Reference =>
  reference.tag || reference.digest ? reference : { ...reference, tag: 'latest' }
