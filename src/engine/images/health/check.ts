import { conflict } from '../../../core/errors.ts'
import type { Engine } from '../../engine.ts'
import { checkBlobs } from './blobs.ts'
import { checkLayers } from './layers.ts'
import { checkLeftovers } from './leftovers.ts'
import { checkContainers, checkDatabase, checkTags, checkUnpacked } from './records.ts'
import { type CheckRequest, type CheckSummary, type Finding, notes } from './types.ts'

/** The verb of its operation. */
export const checkVerb = 'check'

const isMended = ({ mending }: Finding): boolean =>
  mending?.result === 'repaired' || mending?.result === 'removed'

const tell = (engine: Engine, { kind, id, text, mending }: Finding): void => {
  const level = notes.includes(kind) || mending?.result === 'repaired' ? 'info' : 'warn'
  engine.log[level](`check: ${text}`, { id, ...(mending ? { repair: mending.text } : {}) })
}

/**
 * Checks the whole store, from what others are compared with to what is
 * compared, and mends on the way. One at a time; one that ends half-way
 * leaves what it mended mended. Errors: `conflict`, `cancelled`.
 */
export const checkStore = async (engine: Engine, given: CheckRequest): Promise<CheckSummary> => {
  const { operation } = given
  if (engine.operations.all().some(other => other.verb === checkVerb && other !== operation))
    throw conflict('a check of the store is under way: wait for its end, or cancel it')
  const counts = { damaged: 0, mended: 0 }
  const found = (finding: Finding): void => {
    if (!notes.includes(finding.kind)) {
      counts.damaged++
      if (isMended(finding)) counts.mended++
    }
    tell(engine, finding)
    given.found(finding)
  }
  const request = { ...given, found }
  await checkDatabase(engine, request)
  await checkTags(engine, request)
  const blobs = await checkBlobs(engine, request)
  const layers = await checkLayers(engine, blobs.bad, request)
  await checkUnpacked(engine, request)
  const containers = await checkContainers(engine, request)
  const freedBytes = await checkLeftovers(engine, request)
  return {
    blobs: blobs.count,
    blobBytes: blobs.bytes,
    layers: layers.count,
    unverifiable: layers.unverifiable,
    containers,
    ...counts,
    freedBytes,
  }
}
