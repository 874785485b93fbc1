import { BerthError, conflict } from '../../core/errors.ts'
import type { Digest } from '../../oci/digest.ts'
import {
  type Descriptor,
  type ImageConfig,
  type Index,
  isIndexType,
  isManifestType,
  type Manifest,
} from '../../oci/image.ts'
import { formatPlatform, type Platform, platformScore } from '../../oci/platform.ts'
import type { Engine } from '../engine.ts'
import { platformMissing } from './imageErrors.ts'
import { parseDocument } from './pullPlan.ts'
import { hostPlatform } from './reach.ts'

/** A manifest or an index. */
export interface PushDocument {
  descriptor: Descriptor
  /** Undefined where it is not here. */
  bytes: Buffer | undefined
}

export interface PushBlob {
  descriptor: Descriptor
  here: boolean
  isLayer: boolean
}

/** What a push brings to a registry: all that is below what a tag stands for. */
export interface PushPlan {
  /** Those that name others after these; the last is what the tag will stand for. */
  documents: PushDocument[]
  /** Configurations and layers, each once. */
  blobs: PushBlob[]
}

const bytesOf = async (engine: Engine, { digest }: Descriptor): Promise<Buffer | undefined> =>
  (await engine.content.info(digest)) ? await engine.content.bytes(digest) : undefined

interface Gathering {
  documents: Map<Digest, PushDocument>
  blobs: Map<Digest, PushBlob>
}

const gatherBlob = async (
  engine: Engine,
  { blobs }: Gathering,
  { descriptor, isLayer }: Pick<PushBlob, 'descriptor' | 'isLayer'>,
): Promise<void> => {
  if (blobs.has(descriptor.digest)) return
  const here = (await engine.content.info(descriptor.digest)) !== undefined
  blobs.set(descriptor.digest, { descriptor, here, isLayer })
}

const gather = async (engine: Engine, into: Gathering, descriptor: Descriptor): Promise<void> => {
  const { digest, mediaType } = descriptor
  if (!isIndexType(mediaType) && !isManifestType(mediaType))
    return gatherBlob(engine, into, { descriptor, isLayer: true })
  if (into.documents.has(digest)) return
  const bytes = await bytesOf(engine, descriptor)
  if (bytes && isIndexType(mediaType)) {
    const { manifests } = parseDocument<Index>(bytes, `index ${digest}`)
    for (const child of manifests ?? []) await gather(engine, into, child)
  } else if (bytes) {
    const { config, layers } = parseDocument<Manifest>(bytes, `manifest ${digest}`)
    await gatherBlob(engine, into, { descriptor: config, isLayer: false })
    for (const layer of layers ?? []) await gatherBlob(engine, into, { descriptor: layer, isLayer: true })
  }
  into.documents.set(digest, { descriptor, bytes })
}

export const planPush = async (engine: Engine, descriptor: Descriptor): Promise<PushPlan> => {
  const into: Gathering = { documents: new Map(), blobs: new Map() }
  await gather(engine, into, descriptor)
  return { documents: [...into.documents.values()], blobs: [...into.blobs.values()] }
}

/** What is not here, and so has to be at the registry. */
export const missingOf = ({ documents, blobs }: PushPlan): Descriptor[] => [
  ...documents.filter(({ bytes }) => !bytes).map(({ descriptor }) => descriptor),
  ...blobs.filter(({ here }) => !here).map(({ descriptor }) => descriptor),
]

/** A platform's image below an index. */
interface Candidate {
  descriptor: Descriptor
  platform: Platform
}

const isAttestation = ({ annotations }: Descriptor): boolean =>
  annotations?.['vnd.docker.reference.type'] === 'attestation-manifest'

const platformOf = async (engine: Engine, { bytes }: PushDocument): Promise<Platform> => {
  const { config } = parseDocument<Manifest>(bytes ?? Buffer.of(), 'the manifest')
  const { os, architecture, variant } = parseDocument<ImageConfig>(
    await engine.content.bytes(config.digest),
    'the image configuration',
  )
  return { os: os ?? '', architecture: architecture ?? '', ...(variant ? { variant } : {}) }
}

/** The images below what is pushed that are here whole; `isWhole` tells that nothing else is below it. */
const candidatesOf = async (
  engine: Engine,
  plan: PushPlan,
): Promise<{ candidates: Candidate[]; isWhole: boolean }> => {
  const candidates: Candidate[] = []
  let isWhole = true
  for (const document of plan.documents) {
    const { descriptor, bytes } = document
    if (isIndexType(descriptor.mediaType) && bytes) continue
    if (!bytes || missingOf(await planPush(engine, descriptor)).length > 0) isWhole = false
    else if (!isAttestation(descriptor))
      candidates.push({ descriptor, platform: await platformOf(engine, document) })
  }
  return { candidates, isWhole }
}

const notProvided = (name: string, platform: Platform | undefined): BerthError =>
  platform
    ? platformMissing(name, platform)
    : new BerthError(
        'platform-mismatch',
        404,
        `image with reference ${name} was found but does not provide any platform`,
      )

export interface Selection {
  /** As users know it. */
  name: string
  platform: Platform | undefined
}

/**
 * What is pushed instead of `plan`: the platform's image where one is asked for, else the one that is here of an index
 * that is not here whole. Errors: 404 where there is none, `conflict` where there are several.
 */
export const selectManifest = async (
  engine: Engine,
  plan: PushPlan,
  { name, platform }: Selection,
): Promise<Descriptor> => {
  const { candidates, isWhole } = await candidatesOf(engine, plan)
  const fits = candidates.filter(found => !platform || platformScore(found.platform, platform) === 100)
  const [first, ...more] = fits
  const root = plan.documents.at(-1)?.descriptor
  if (!first || !root) throw notProvided(name, platform)
  if (platform) {
    if (more.length > 0) throw conflict(`multiple manifests found for platform ${formatPlatform(platform)}`)
    return first.descriptor
  }
  if (isWhole) return root
  if (more.length === 0) return first.descriptor
  const [best] = fits
    .filter(found => platformScore(found.platform, hostPlatform) > 0)
    .sort((a, b) => platformScore(b.platform, hostPlatform) - platformScore(a.platform, hostPlatform))
  if (!best) throw conflict('multiple matching manifests found but no specific platform requested')
  return best.descriptor
}
