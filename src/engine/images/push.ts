import { BerthError, hasCode, internal } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { Gate } from '../../core/queue.ts'
import {
  type Descriptor,
  type ImageConfig,
  isIndexType,
  isManifestType,
  type Manifest,
} from '../../oci/image.ts'
import type { Platform } from '../../oci/platform.ts'
import { familiar, familiarName, parseReference, type Reference } from '../../oci/reference.ts'
import type { Credentials, Repository } from '../../registry-client/types.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'
import { parseDocument } from './pullPlan.ts'
import type { PullLine } from './pullProgress.ts'
import { compressedForm } from './pushCompressed.ts'
import { missingOf, type PushDocument, type PushPlan, planPush, selectManifest } from './pushPlan.ts'
import { recordPushed } from './pushRecords.ts'
import { Sending } from './pushSending.ts'
import { reachable } from './reach.ts'
import type { ImageRecord, ImageTarget, TagRecord } from './types.ts'

/** Manifests of an index that are sent at a time. */
const manifestsAtATime = 5

/** A line of a push; what only programs read is in `aux`. */
export type PushLine = Partial<PullLine> & { aux?: object }

export interface PushRequest {
  /** Without a tag or a digest, all tags of the repository are meant. */
  name: Reference
  /** Of an index, only this platform's image. */
  platform: Platform | undefined
  credentials: Credentials | undefined
  operation: Operation
  report: (line: PushLine) => void
  /** What the name stands for itself goes, though its layers may be plain. */
  isExact?: boolean
}

/** One name of a push. */
interface Part extends PushRequest {
  repository: Repository
  image: ImageRecord
}

/** `POST /images/{name}/push`. Errors: 404 where nothing here has the name; after the first line the registry's. */
export const pushImages = async (engine: Engine, request: PushRequest): Promise<void> => {
  const { name, credentials, report } = request
  const tags = wantedTags(engine, name)
  report({ status: `The push refers to repository [${name.domain}/${name.path}]` })
  const repository = engine.registries.repository(name.domain, name.path, credentials)
  for (const known of tags) {
    const own = parseReference(known.name)
    // It may stand for another image, or for none, since the ones before it were pushed.
    const tag = engine.images.findTag(own)
    if (!tag) continue
    using lease = engine.images.lease(tag.image)
    const part = { ...request, name: own, repository, image: lease.image }
    await pushOne(engine, part, tag)
  }
}

const missingName = (message: string): BerthError => new BerthError('no-such-image', 404, message)

const wantedTags = (engine: Engine, name: Reference): TagRecord[] => {
  const { domain, path, tag, digest } = name
  // A digest says it all: Docker makes no name of the tag beside it.
  if (digest) return [foundTag(engine, { domain, path, digest })]
  const own = engine.images.tagsIn(name)
  if (own.length === 0)
    throw missingName(`An image does not exist locally with the tag: ${familiarName(name)}`)
  return tag ? [foundTag(engine, name)] : own
}

const foundTag = (engine: Engine, name: Reference): TagRecord => {
  const found = engine.images.findTag(name)
  if (!found) throw missingName(`tag does not exist: ${familiar(name)}`)
  return found
}

const pushOne = async (engine: Engine, part: Part, tag: TagRecord): Promise<void> => {
  const { name, image, operation, report, platform } = part
  const stored = image.targets.find(({ descriptor }) => descriptor.digest === tag.target)
  if (!stored) throw internal(`image ${image.id} has lost what ${familiar(name)} stands for: load it again`)
  const asked = platform ? await selected(engine, part, stored) : stored
  operation.at(`reading ${familiar(name)}`)
  const to = { name, repository: part.repository, signal: operation.signal, report }
  using sending = new Sending(engine, to, asked.descriptor.digest)
  for (const blob of (await planPush(engine, asked.descriptor)).blobs)
    if (blob.isLayer) sending.prepare(blob.descriptor)
  const compressing = { image, target: asked, operation, sending }
  const forming = part.isExact ? asked : compressedForm(engine, compressing)
  const form = await Promise.resolve(forming).catch(error => {
    // What ended the sending says more.
    sending.signal.throwIfAborted()
    throw error
  })
  const isWhole = await isAvailable(engine, part, { sending, target: form })
  const target = isWhole ? form : await instead(engine, part, form)
  await send(part, sending, await planPush(engine, target.descriptor))
  operation.at('recording what was pushed')
  await recordPushed(engine, name, {
    target,
    tag: asked === stored && target === form ? tag : undefined,
  })
  failpoint('push.recorded')
  if (target !== form) report(insteadLine(form.descriptor, target.descriptor))
  for (const line of lastLines(name, target.descriptor)) report(line)
  const { Labels } = image.config.config ?? {}
  engine.events.publish('image', 'push', familiar(name), { ...Labels, name: familiarName(name) })
}

/** The image of the platform that was asked for, as a target. */
const selected = async (engine: Engine, part: Part, { descriptor }: ImageTarget): Promise<ImageTarget> => {
  const { name, platform } = part
  const plan = await planPush(engine, descriptor)
  return targetOf(engine, await selectManifest(engine, plan, { name: familiar(name), platform }), part)
}

const targetOf = async (engine: Engine, descriptor: Descriptor, { image }: Part): Promise<ImageTarget> => {
  const known = image.targets.find(target => target.descriptor.digest === descriptor.digest)
  if (known) return known
  const bytes = await engine.content.bytes(descriptor.digest)
  const { config, layers } = parseDocument<Manifest>(bytes, `manifest ${descriptor.digest}`)
  const { rootfs } = parseDocument<ImageConfig>(await engine.content.bytes(config.digest), 'configuration')
  const sources = layers.map(({ digest }, index) => ({
    blob: digest,
    diffId: rootfs?.diff_ids[index] ?? digest,
  }))
  const { platform: _platform, ...own } = descriptor
  return { descriptor: own, manifest: own, blobs: await reachable(engine, own), layers: sources }
}

/** Here, or at the registry already. */
const isAvailable = async (
  engine: Engine,
  { repository, operation }: Part,
  { sending, target }: { sending: Sending; target: ImageTarget },
): Promise<boolean> => {
  const { documents, blobs } = await planPush(engine, target.descriptor)
  const absent = documents.filter(({ bytes }) => !bytes)
  if (absent.length > 0) operation.at('asking for what is not here')
  for (const { descriptor } of absent)
    if (!(await repository.hasManifest(descriptor.digest, operation.signal))) return false
  return await sending.sendAll(blobs.filter(({ here }) => !here))
}

/** Of an index that is neither here nor at the registry whole, the image that is. */
const instead = async (engine: Engine, part: Part, target: ImageTarget): Promise<ImageTarget> => {
  const { name, platform, report } = part
  const plan = await planPush(engine, target.descriptor)
  if (platform || !isIndexType(target.descriptor.mediaType)) throw contentMissing(part, plan)
  const chosen = await selectManifest(engine, plan, { name: familiar(name), platform })
  if (chosen.digest === target.descriptor.digest) throw contentMissing(part, plan)
  for (const { digest } of missingOf(plan))
    report({ status: 'Unavailable', progressDetail: {}, id: digest.slice(7, 19) })
  return targetOf(engine, chosen, part)
}

const contentMissing = ({ report }: Part, plan: PushPlan): BerthError => {
  const root = plan.documents.at(-1)?.descriptor
  const [first] = missingOf(plan)
  report({ progressDetail: {}, aux: { contentMissing: true, desc: root } })
  return new BerthError('content-missing', 404, `content digest ${first?.digest}: not found`)
}

/** Blobs in parallel, then manifests, then what names them: nothing at the registry ever names what is not there. */
const send = async (part: Part, sending: Sending, plan: PushPlan): Promise<void> => {
  const { name, operation } = part
  const root = plan.documents.at(-1)?.descriptor
  operation.at(`sending layers of ${familiar(name)}`)
  if (!(await sending.sendAll(plan.blobs))) throw contentMissing(part, plan)
  failpoint('push.uploaded')
  operation.at(`sending manifests of ${familiar(name)}`)
  const inner = plan.documents.filter(({ descriptor }) => descriptor !== root)
  const gate = new Gate(manifestsAtATime)
  const isFirst = ({ descriptor }: PushDocument): boolean => isManifestType(descriptor.mediaType)
  await Promise.all(inner.filter(isFirst).map(document => gate.run(() => put(part, document, undefined))))
  for (const document of inner) if (!isFirst(document)) await put(part, document, undefined)
  for (const document of plan.documents) if (!inner.includes(document)) await put(part, document, name.tag)
  failpoint('push.manifests')
}

const put = async (
  { repository, operation }: Part,
  { descriptor, bytes }: PushDocument,
  tag: string | undefined,
): Promise<void> => {
  const { signal } = operation
  const { digest } = descriptor
  if (!bytes) return
  try {
    await repository.putManifest(tag ?? digest, { descriptor, bytes }, signal)
  } catch (error) {
    const isRefused = hasCode(error, 'registry-refused') || hasCode(error, 'denied')
    if (!tag || !isRefused) throw error
    // Where tags may not be changed, even the same is refused.
    if (!(await repository.hasManifest(digest, signal, tag).catch(() => false))) throw error
  }
}

const insteadLine = (originalIndex: Descriptor, selectedManifest: Descriptor): PushLine => ({
  progressDetail: {},
  aux: { manifestPushedInsteadOfIndex: true, originalIndex, selectedManifest },
})

const lastLines = ({ tag }: Reference, { digest, size }: Descriptor): PushLine[] => {
  if (!tag) return []
  return [
    { status: `${tag}: digest: ${digest} size: ${size}` },
    { progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: size } },
  ]
}
