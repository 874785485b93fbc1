import { type OutgoingMember, writeTar } from '../../archive/writer.ts'
import { badRequest, hasCode, notImplemented } from '../../core/errors.ts'
import { withIncoming } from '../../engine/images/assemble.ts'
import { collectQuietly } from '../../engine/images/collect.ts'
import {
  blobFolders,
  blobMember,
  blobPath,
  jsonMember,
  layoutMembers,
  namedDescriptor,
} from '../../engine/images/imageArchive.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/image.ts'
import { familiar } from '../../oci/reference.ts'
import { sendFile } from '../session/sendFile.ts'
import {
  checkAnnotations,
  type Document,
  datedDescriptor,
  type ImageDocuments,
  imageDocuments,
  indexDocument,
} from './imageDocuments.ts'
import { bringResults, layerBlobs } from './layerBlobs.ts'
import { type ImageOptions, namesTold } from './options.ts'
import type { BuildOutcome, ExportStep, ExportTarget, Told } from './types.ts'

/** Images to the client, as archives: `--output type=oci` and `type=docker`. */

export type ArchiveKind = 'oci' | 'docker'

interface Archived {
  /** What the layout's index names. */
  root: Descriptor
  images: ImageDocuments[]
  documents: Document[]
}

const archiveOf = (images: ImageDocuments[], options: ImageOptions, outcome: BuildOutcome): Archived => {
  const inner = images.flatMap(({ config, manifest }) => [config, manifest])
  const [first] = images
  const index = outcome.isMulti || !first ? indexDocument(images, options) : undefined
  const epoch = options.epoch ?? outcome.platforms[0]?.epoch
  const top = index?.descriptor ?? first?.manifest.descriptor
  if (!top) throw badRequest('the build has no result that could be exported')
  return {
    root: datedDescriptor(top, epoch),
    images,
    documents: index ? [...inner, index] : inner,
  }
}

/** Layers, then what names them, each once. */
function* members(
  { engine }: ExportStep,
  { root, images, documents }: Archived,
  { kind, options: { names } }: { kind: ArchiveKind; options: ImageOptions },
): Generator<OutgoingMember> {
  const sent = new Set<Digest>()
  const isNew = ({ digest }: Descriptor): boolean => !sent.has(digest) && sent.add(digest) !== undefined
  yield* blobFolders()
  for (const layer of images.flatMap(({ layers }) => layers))
    if (isNew(layer)) yield blobMember(layer, engine.content.open(layer.digest))
  for (const { descriptor, bytes } of documents) if (isNew(descriptor)) yield blobMember(descriptor, [bytes])
  yield* layoutMembers(
    names.length > 0 ? names.map(name => namedDescriptor(root, name)) : [namedDescriptor(root, undefined)],
  )
  if (kind === 'docker')
    yield jsonMember(
      'manifest.json',
      images.map(({ config, layers }) => ({
        Config: blobPath(config.descriptor.digest),
        RepoTags: names.length > 0 ? names.map(familiar) : null,
        Layers: layers.map(({ digest }) => blobPath(digest)),
      })),
    )
}

const toldOf = ({ root, images }: Archived, options: ImageOptions, isMulti: boolean): Told => ({
  'containerimage.digest': root.digest,
  ...(isMulti ? {} : { 'containerimage.config.digest': images[0]?.config.descriptor.digest ?? '' }),
  'containerimage.descriptor': Buffer.from(JSON.stringify(root)).toString('base64'),
  ...namesTold(options.names),
})

/** A client that has such a file already keeps it. */
const send = async (work: Promise<void>): Promise<void> => {
  try {
    await work
  } catch (error) {
    if (!hasCode(error, 'conflict')) throw error
  }
}

/** Nothing of it stays here. Gives what the client is told. Errors: those of the client, `not-implemented`. */
export const exportArchive = async (
  step: ExportStep,
  outcome: BuildOutcome,
  { kind, options, target }: { kind: ArchiveKind; options: ImageOptions; target: ExportTarget },
): Promise<Told> => {
  if (!options.isArchive) throw notImplemented('an OCI layout as a folder of the client (tar=false)')
  if (kind === 'docker' && outcome.isMulti)
    throw badRequest('docker exporter does not currently support exporting manifest lists')
  checkAnnotations(options, outcome)
  const { engine, operation } = step
  const made: Digest[] = []
  using here = await bringResults(step, outcome.platforms)
  const told = await withIncoming(engine, operation.signal, async brought => {
    step.say('exporting layers')
    const images: ImageDocuments[] = []
    for (const result of here.platforms)
      images.push(imageDocuments(result, await layerBlobs({ step, options, brought }, result), options))
    made.push(...brought)
    const archived = archiveOf(images, options, outcome)
    for (const { descriptor } of archived.documents) step.say(`exporting ${whatIs(descriptor)}`)
    const fields = toldOf(archived, options, outcome.isMulti)
    step.say('sending tarball')
    const bytes = writeTar(members(step, archived, { kind, options }))
    await send(sendFile(target.session, { exporter: target.exporter, fields, bytes }, operation.signal))
    return fields
  })
  await collectQuietly(engine, made)
  return told
}

const whatIs = ({ mediaType, digest }: Descriptor): string =>
  `${/config|container\.image/.test(mediaType) ? 'config' : /index|list/.test(mediaType) ? 'manifest list' : 'manifest'} ${digest}`
