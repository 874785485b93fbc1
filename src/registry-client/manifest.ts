import { digestOf, isDigest } from '../oci/digest.ts'
import { type Descriptor, mediaTypes } from '../oci/image.ts'
import type { Ask, Endpoint } from './endpoint.ts'
import { failure } from './failures.ts'
import { mediaTypeOf, single } from './headers.ts'
import type { ManifestAnswer } from './types.ts'

/** Manifests and indexes as they are fetched: bounded, and checked against the digest by which they were asked for. */

export const manifestLimit = 8 * 1024 * 1024

export const accepted = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
  '*/*',
].join(', ')

const manifestTypes: string[] = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
]

/** Where a registry says nothing of use, as those that serve plain files do, the document tells what it is. */
export const manifestTypeOf = (said: string, bytes: Buffer): string => {
  if (said !== '' && !/^(text\/|application\/(json|octet-stream)$)/.test(said)) return said
  try {
    const body = JSON.parse(bytes.toString()) as Record<string, unknown>
    const own = body['mediaType']
    if (typeof own === 'string' && manifestTypes.includes(own)) return own
    if (Array.isArray(body['manifests'])) return mediaTypes.ociIndex
    if (Array.isArray(body['layers'])) return mediaTypes.ociManifest
  } catch {
    // What it is not is told by whoever parses it.
  }
  return said
}

const mismatch = (endpoint: Endpoint, wanted: string, found: string): Error =>
  failure(
    'digest-mismatch',
    500,
    `manifest verification failed for digest ${wanted}: ${endpoint.host.base} sent one of ${found}`,
    { transient: true, spoke: true },
  )

export const readManifest = async (
  endpoint: Endpoint,
  ask: Ask,
  reference: string,
): Promise<ManifestAnswer> => {
  const answer = await endpoint.expect({ ...ask, headers: { ...ask.headers, accept: accepted } }, [200])
  const bytes = await answer.body.read(manifestLimit)
  if (!bytes)
    throw failure(
      'registry-failed',
      500,
      `${endpoint.host.base}: the manifest is longer than ${manifestLimit} bytes`,
      {
        transient: false,
        spoke: true,
      },
    )
  const digest = digestOf(bytes)
  const said = isDigest(reference) ? reference : (single(answer.headers['docker-content-digest']) ?? '')
  if (isDigest(said) && said !== digest) throw mismatch(endpoint, said, digest)
  const mediaType = manifestTypeOf(mediaTypeOf(single(answer.headers['content-type'])), bytes)
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes }
}

/** By HEAD alone; undefined where that does not tell all, or fails: a GET then has the words for it. */
export const resolveByHead = async (
  endpoint: Endpoint,
  ask: Ask,
  reference: string,
): Promise<Descriptor | undefined> => {
  const answer = await endpoint.ask({ ...ask, method: 'HEAD', headers: { ...ask.headers, accept: accepted } })
  await answer.body.discard()
  const digest = single(answer.headers['docker-content-digest']) ?? ''
  const mediaType = mediaTypeOf(single(answer.headers['content-type']))
  const size = Number(single(answer.headers['content-length']) ?? Number.NaN)
  if (answer.status !== 200 || !isDigest(digest) || !manifestTypes.includes(mediaType)) return undefined
  if (!Number.isSafeInteger(size) || size === 0) return undefined
  if (isDigest(reference) && reference !== digest) return undefined
  return { mediaType, digest, size }
}
