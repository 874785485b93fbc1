import { badRequest } from '../core/errors.ts'
import { cleanUpVerb } from '../engine/cleanUp/alone.ts'
import {
  type CleanUpResult,
  cleanUpImages,
  drawPlan,
  imageCleanUpSubject,
} from '../engine/images/cleanUp/cleanUp.ts'
import { cleanUpLimits, type GivenLimits, hasLimit } from '../engine/images/cleanUp/limits.ts'
import type { CleanUpPlan, Removal, Stay } from '../engine/images/cleanUp/plan.ts'
import type { CleanUpLimits } from '../engine/settings.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/berth/v1/images/clean-up`: what unused images take, and which of them are to go. */

const given = ({ query }: Call): GivenLimits => {
  const limits: GivenLimits = { keep: query.all('keep') }
  for (const [name, key] of [
    ['max-size', 'maxSize'],
    ['max-age', 'maxAge'],
    ['min-free', 'minFree'],
  ] as const) {
    const value = query.get(name)
    if (value) limits[key] = value
  }
  return limits
}

/** Those of the request, or else of the daemon; what either protects is protected. */
const limitsOf = (call: Call): CleanUpLimits => {
  const own = cleanUpLimits(given(call))
  const configured = call.engine.settings.imageCleanUp
  const keep = [...configured.keep, ...own.keep]
  if (hasLimit(own)) return { ...own, keep }
  if (hasLimit(configured)) return { ...configured, keep }
  throw badRequest(
    'no limit is set: give max-size, max-age or min-free with the request, or set image-clean-up in daemon.json',
  )
}

const shownStay = ({ id, names, lastUsed, why }: Stay): object => ({
  Id: id,
  Names: names,
  LastUsed: new Date(lastUsed).toISOString(),
  Why: why,
})

const shownRemoval = (removal: Removal): object => ({ ...shownStay(removal), Bytes: removal.bytes })

const shownPlan = ({ id, removals, stays, bytes, short }: CleanUpPlan): object => ({
  Plan: id,
  Remove: removals.map(shownRemoval),
  Keep: stays.map(shownStay),
  Bytes: bytes,
  NotReached: short,
})

const shownResult = ({ plan, removed, skipped, before, after }: CleanUpResult): object => ({
  Plan: plan.id,
  Removed: removed.map(shownRemoval),
  Skipped: skipped.map(({ removal, why }) => ({ ...shownStay(removal), Why: why })),
  BytesBefore: before,
  BytesAfter: after,
  NotReached: plan.short,
})

const cleanUp = async (call: Call): Promise<{ json: object }> => {
  const { engine, query } = call
  const limits = limitsOf(call)
  if (query.flag('dry-run')) return { json: shownPlan(await drawPlan(engine, limits)) }
  const planId = query.get('plan')
  const what = { verb: cleanUpVerb, subject: imageCleanUpSubject }
  const result = await tracked(call, what, operation =>
    cleanUpImages(engine, { limits, operation, ...(planId ? { planId } : {}) }),
  )
  return { json: shownResult(result) }
}

export const imageCleanUpRoutes: Route[] = [
  {
    method: 'POST',
    path: '/berth/v1/images/clean-up',
    operation: 'ImageCleanUp',
    own: true,
    handle: cleanUp,
  },
]
