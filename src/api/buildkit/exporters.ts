import type { Build } from '../../build/build.ts'
import { exportArchive } from '../../build/export/archive.ts'
import { exportFolder, exportTar } from '../../build/export/files.ts'
import { namesTold, readFilesOptions, readImageOptions, readNames } from '../../build/export/options.ts'
import { pushNames } from '../../build/export/push.ts'
import { storeImage } from '../../build/export/storeImage.ts'
import type { BuildOutcome, ExportTarget, Told } from '../../build/export/types.ts'
import { badRequest, notImplemented } from '../../core/errors.ts'
import { truthOf } from '../../wire/truth.ts'
import type { Attributed } from './types.ts'

/** BuildKit's exporters, by the names under which clients know them. */

interface Exporting {
  outcome: BuildOutcome
  target: ExportTarget
}

type Exporter = (build: Build, attributes: Attributed['attributes'], exporting: Exporting) => Promise<Told>

/** Attributes by which an image is another one than `docker build` makes. */
const special = [
  'compression',
  'compression-level',
  'force-compression',
  'oci-mediatypes',
  'rewrite-timestamp',
  'source-date-epoch',
  'push-by-digest',
]

const checkPush = (attributes: Attributed['attributes']): void => {
  if (truthOf(attributes['registry.insecure'] || 'false'))
    throw notImplemented(
      'registry.insecure=true of a build’s image: name the registry in insecure-registries',
    )
}

/** As all images are that are made here: plain layers, known by its configuration. */
const toStorePlainly: Exporter = async (build, attributes, { outcome }) => {
  const [only] = outcome.platforms
  if (!only) throw badRequest('the build has no result that could be exported')
  const names = readNames(attributes)
  const { tree, image, baseImage, epoch, inlineCache } = only
  const plan = { image, ...(baseImage ? { baseImage } : {}), ...(epoch === undefined ? {} : { epoch }) }
  const { id } = await build.exportImage({ plan, tree, inlineCache }, names)
  return { 'containerimage.digest': id, 'containerimage.config.digest': id, ...namesTold(names) }
}

const toStore: Exporter = async (build, attributes, exporting) => {
  const { outcome } = exporting
  const options = readImageOptions(attributes)
  const { isPushed } = options
  const isSpecial = options.annotations.length > 0 || special.some(key => attributes[key] !== undefined)
  if (!outcome.isMulti && !isPushed && !isSpecial) return await toStorePlainly(build, attributes, exporting)
  checkPush(attributes)
  return await build.export('exporting to image', async step => {
    const { root, config, names } = await storeImage(step, outcome, options)
    if (isPushed) await pushNames(step, names, build.client.credentials)
    return {
      'containerimage.digest': root.digest,
      ...(config ? { 'containerimage.config.digest': config } : {}),
      'containerimage.descriptor': Buffer.from(JSON.stringify(root)).toString('base64'),
      ...namesTold(options.names),
    }
  })
}

const archive =
  (kind: 'oci' | 'docker'): Exporter =>
  async (build, attributes, { outcome, target }) => {
    const options = readImageOptions(attributes)
    return await build.export(
      `exporting to ${kind} image format`,
      async step => await exportArchive(step, outcome, { kind, options, target }),
    )
  }

const exporters: Record<string, Exporter> = {
  moby: toStore,
  image: toStore,
  oci: archive('oci'),
  docker: archive('docker'),
  local: async (build, attributes, { outcome, target }) => {
    const options = readFilesOptions(attributes)
    await build.export(
      'exporting to client directory',
      async step => await exportFolder(step, outcome, { options, target }),
    )
    return {}
  },
  tar: async (build, attributes, { outcome, target }) => {
    const options = readFilesOptions(attributes)
    await build.export(
      'exporting to client tarball',
      async step => await exportTar(step, outcome, { options, target }),
    )
    return {}
  },
}

/** Gives what the client is told of it. Errors: `bad-request` for an exporter that nobody knows, those of exports. */
export const exportResult = async (
  build: Build,
  { type, attributes }: Attributed,
  exporting: Exporting,
): Promise<Told> => {
  const exporter = Object.hasOwn(exporters, type) ? exporters[type] : undefined
  if (!exporter) throw badRequest(`exporter ${JSON.stringify(type)} could not be found`)
  return await exporter(build, attributes, exporting)
}
