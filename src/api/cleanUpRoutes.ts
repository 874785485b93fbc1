import { badRequest } from '../core/errors.ts'
import { cleanUpVerb } from '../engine/cleanUp/alone.ts'
import { cleanUp, cleanUpSubject, drawPlan } from '../engine/cleanUp/cleanUp.ts'
import { cleanUpRules, hasRules } from '../engine/cleanUp/rules.ts'
import type { CleanUpOutcome, CleanUpPlan, CleanUpSettings, Removal } from '../engine/cleanUp/types.ts'
import { map } from '../wire/decode.ts'
import { readJson } from './body.ts'
import type { Call, Route } from './route.ts'
import { tracked } from './track.ts'

/** `/berth/v1/clean-up`: stopped containers, and networks and volumes that nobody uses. */

const shown = ({ type, id, name, lastNeeded, bytes, why }: Removal): object => ({
  Type: type,
  Id: id,
  Name: name,
  LastNeeded: new Date(lastNeeded).toISOString(),
  Bytes: bytes,
  Why: why,
})

const shownPlan = ({ id, removals, stays, bytes }: CleanUpPlan): object => ({
  Plan: id,
  Remove: removals.map(shown),
  Keep: stays.map(shown),
  Bytes: bytes,
})

const shownOutcome = ({ plan, removed, skipped, freed }: CleanUpOutcome): object => ({
  Plan: plan.id,
  Removed: removed.map(shown),
  Skipped: skipped.map(shown),
  Bytes: freed,
})

/** The request's own rules, or else the daemon's. */
const rulesOf = async ({ engine, req }: Call): Promise<CleanUpSettings> => {
  const own = cleanUpRules(
    'clean-up',
    await readJson(
      req,
      map(value => value),
    ),
  )
  const settings = hasRules(own) ? own : engine.settings.cleanUp
  if (hasRules(settings)) return settings
  throw badRequest(
    'no rule is set: give containers, networks or volumes with the request, or set clean-up in daemon.json',
  )
}

const handle = async (call: Call): Promise<{ json: object }> => {
  const { engine, query } = call
  const settings = await rulesOf(call)
  if (query.flag('dry-run')) return { json: shownPlan(await drawPlan(engine, settings)) }
  const planId = query.get('plan')
  const outcome = await tracked(call, { verb: cleanUpVerb, subject: cleanUpSubject }, operation =>
    cleanUp(engine, { settings, operation, ...(planId ? { planId } : {}) }),
  )
  return { json: shownOutcome(outcome) }
}

export const cleanUpRoutes: Route[] = [
  { method: 'POST', path: '/berth/v1/clean-up', operation: 'CleanUp', own: true, handle },
]
