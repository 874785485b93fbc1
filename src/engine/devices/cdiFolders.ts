import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { badRequest, hasCode, internal, messageOf } from '../../core/errors.ts'
import { parseYaml } from '../../core/yaml.ts'
import { type CdiSpecification, type ContainerEdits, cdiSpecificationOf } from './cdiSpecification.ts'

/** The specifications that lie on this host. They are read when they are needed, so that new ones are seen at once. */

interface Found {
  /** Its folder's place in the list: a later one's devices hide an earlier one's. */
  rank: number
  file: string
  spec: CdiSpecification
}

export interface CdiDevices {
  /** By full name. */
  devices: Map<string, { found: Found; edits: ContainerEdits }>
  vendors: Set<string>
  /** What is wrong with files, each named. */
  problems: { file: string; text: string }[]
}

const filesOf = async (folder: string): Promise<string[]> => {
  try {
    return (await readdir(folder)).sort().map(name => path.join(folder, name))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

const forms: Record<string, (text: string) => unknown> = { '.json': JSON.parse, '.yaml': parseYaml }

const addDevices = (all: CdiDevices, found: Found, clashes: Set<string>): void => {
  const { kind = '', devices = [] } = found.spec
  all.vendors.add(kind.split('/')[0] ?? '')
  for (const { name, containerEdits: edits = {} } of devices) {
    const full = `${kind}=${name}`
    const other = all.devices.get(full)?.found
    if (other?.rank === found.rank) {
      clashes.add(full)
      const text = `conflicting device "${full}" (specs "${found.file}", "${other.file}")`
      all.problems.push({ file: found.file, text }, { file: other.file, text })
    } else {
      clashes.delete(full)
      all.devices.set(full, { found, edits })
    }
  }
}

/** A device that two files of one folder describe is nobody's. */
export const readCdiDevices = async (folders: readonly string[]): Promise<CdiDevices> => {
  const all: CdiDevices = { devices: new Map(), vendors: new Set(), problems: [] }
  const clashes = new Set<string>()
  for (const [rank, folder] of folders.entries())
    for (const file of await filesOf(folder).catch(error => {
      all.problems.push({ file: folder, text: messageOf(error) })
      return []
    })) {
      const parse = forms[path.extname(file)]
      if (!parse) continue
      try {
        const spec = cdiSpecificationOf(await parse(await readFile(file, 'utf8')))
        addDevices(all, { rank, file, spec }, clashes)
      } catch (error) {
        all.problems.push({ file, text: `failed to load CDI Spec ${messageOf(error)}` })
      }
    }
  for (const name of clashes) all.devices.delete(name)
  return all
}

const merge = (a: ContainerEdits, b: ContainerEdits): ContainerEdits => {
  const both = <K extends 'env' | 'deviceNodes' | 'hooks' | 'mounts' | 'additionalGids'>(key: K) =>
    ({ [key]: [...(a[key] ?? []), ...(b[key] ?? [])] }) as Pick<ContainerEdits, K>
  const intelRdt = b.intelRdt ?? a.intelRdt
  return {
    ...both('env'),
    ...both('deviceNodes'),
    ...both('hooks'),
    ...both('mounts'),
    ...both('additionalGids'),
    ...(intelRdt ? { intelRdt } : {}),
  }
}

const failed = 'CDI device injection failed'

/**
 * What devices by their full names bring with them: each specification's own
 * edits once, before those of its devices. Errors: 500 in Docker's words for
 * names that nobody describes.
 */
export const editsOf = (all: CdiDevices, names: readonly string[]): ContainerEdits => {
  const missing = names.filter(name => !all.devices.has(name))
  if (missing.length > 0) throw internal(`${failed}: unresolvable CDI devices ${missing.join(', ')}`)
  const seen = new Set<CdiSpecification>()
  let edits: ContainerEdits = {}
  for (const name of names) {
    const device = all.devices.get(name)
    if (!device) throw badRequest(`${failed}: ${name}`)
    const { spec } = device.found
    if (!seen.has(spec)) edits = merge(edits, spec.containerEdits ?? {})
    seen.add(spec)
    edits = merge(edits, device.edits)
  }
  return edits
}
