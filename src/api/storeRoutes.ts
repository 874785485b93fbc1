import { badRequest, notFound } from '../core/errors.ts'
import type { Engine } from '../engine/engine.ts'
import { checkStore, checkVerb } from '../engine/images/health/check.ts'
import {
  type CheckRequest,
  type CheckSummary,
  type Depth,
  depths,
  type Finding,
  type RepairMode,
  repairModes,
} from '../engine/images/health/types.ts'
import { progressLines } from './progressLines.ts'
import { registryCredentials } from './registryAuth.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/berth/v1/system/check`: is what the data root holds what it should be; `quarantine`: what was not, and was put aside. */

const oneOf = <T extends string>({ query }: Call, name: string, choices: readonly T[], otherwise: T): T => {
  const given = query.get(name) || otherwise
  const choice = choices.find(text => text === given)
  if (choice === undefined)
    throw badRequest(`invalid value for ${name}: ${JSON.stringify(given)}: use one of ${choices.join(', ')}`)
  return choice
}

const shownFinding = ({ kind, id, text, images, containers, differences, mending }: Finding): object => ({
  Kind: kind,
  Id: id,
  Text: text,
  Images: images,
  Containers: containers,
  ...(differences ? { Differences: differences.map(({ path, what }) => ({ Path: path, Text: what })) } : {}),
  ...(mending ? { Repair: { Result: mending.result, Text: mending.text } } : {}),
})

const shownSummary = (
  { engine }: Call,
  summary: CheckSummary,
  how: { depth: Depth; repair: RepairMode },
): object => ({
  Depth: how.depth,
  Repair: how.repair,
  Blobs: summary.blobs,
  BlobBytes: summary.blobBytes,
  Layers: summary.layers,
  UnverifiableLayers: summary.unverifiable,
  Containers: summary.containers,
  Damaged: summary.damaged,
  Repaired: summary.mended,
  FreedBytes: summary.freedBytes,
  Quarantine: quarantined(engine),
})

const quarantined = ({ content }: Engine): object[] =>
  content.quarantine.list().map(({ name, digest, size, at, why, images }) => ({
    Name: name,
    Digest: digest,
    Bytes: size,
    At: at,
    Why: why,
    Images: images,
  }))

const dropQuarantined = async ({ engine, params }: Call): Promise<{ status: number }> => {
  const name = params['name'] ?? ''
  const { quarantine } = engine.content
  const entry = quarantine.list().find(other => other.name === name)
  if (!entry) throw notFound(`there is no ${JSON.stringify(name)} in quarantine`)
  await quarantine.drop(name)
  engine.log.info('a damaged blob was removed from quarantine', { name, bytes: entry.size })
  return { status: 204 }
}

/** Milliseconds between two lines of progress. */
const progressEvery = 250

const paced = (report: (line: object) => void): CheckRequest['progress'] => {
  let next = 0
  return ({ status, id, current, total }) => {
    if (performance.now() < next) return
    next = performance.now() + progressEvery
    report({ status, id, progressDetail: { current, total } })
  }
}

const check = async (call: Call): Promise<undefined> => {
  const depth = oneOf(call, 'depth', depths, 'full')
  const repair = oneOf(call, 'repair', repairModes, 'none')
  const credentials = registryCredentials(call)
  const what = {
    verb: checkVerb,
    subject: { type: 'data root', id: '', name: '' },
    endsWithClient: true,
  }
  return await progressLines(call, report =>
    tracked(call, what, async operation => {
      const summary = await checkStore(call.engine, {
        depth,
        repair,
        credentials,
        operation,
        progress: paced(report),
        found: finding => report({ Finding: shownFinding(finding) }),
      })
      report({ Summary: shownSummary(call, summary, { depth, repair }) })
    }),
  )
}

export const storeRoutes: Route[] = [
  {
    method: 'POST',
    path: '/berth/v1/system/check',
    operation: 'SystemCheck',
    own: true,
    handle: check,
  },
  {
    method: 'GET',
    path: '/berth/v1/system/quarantine',
    operation: 'QuarantineList',
    own: true,
    handle: async ({ engine }) => ({ json: quarantined(engine) }),
  },
  {
    method: 'DELETE',
    path: '/berth/v1/system/quarantine/{name}',
    operation: 'QuarantineDelete',
    own: true,
    handle: dropQuarantined,
  },
]
