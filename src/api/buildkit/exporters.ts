import type { Build } from '../../build/build.ts'
import { exportArchive } from '../../build/export/archive.ts'
import { exportFolder, exportTar } from '../../build/export/files.ts'
import { namesTold, readFilesOptions, readImageOptions } from '../../build/export/options.ts'
import type { BuildOutcome, ExportTarget, Told } from '../../build/export/types.ts'
import { badRequest, notImplemented } from '../../core/errors.ts'
import type { Attributed } from './types.ts'

/** BuildKit's exporters, by the names under which clients know them. */

interface Exporting {
  outcome: BuildOutcome
  target: ExportTarget
}

type Exporter = (build: Build, attributes: Attributed['attributes'], exporting: Exporting) => Promise<Told>

const toStore: Exporter = async (build, attributes, { outcome }) => {
  if (attributes['push'] === 'true') throw notImplemented('pushing what was built')
  const [only, ...others] = outcome.platforms
  if (!only || others.length > 0) throw notImplemented('an image of several platforms')
  const { names } = readImageOptions(attributes)
  const { tree, image, baseImage, epoch } = only
  const plan = { image, ...(baseImage ? { baseImage } : {}), ...(epoch === undefined ? {} : { epoch }) }
  const record = await build.exportImage({ plan, tree }, names)
  return {
    'containerimage.digest': record.id,
    'containerimage.config.digest': record.id,
    ...namesTold(names),
  }
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
