import { BerthError } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { removeIfStopped } from '../containers/remove.ts'
import type { Engine } from '../engine.ts'
import { isNamed, removeNetwork } from '../networks/removeNetwork.ts'
import { removeVolume } from '../volumes/removeVolume.ts'
import { type CleanUpCall, planAlone } from './alone.ts'
import { planCleanUp } from './plan.ts'
import type { CleanUpOutcome, CleanUpPlan, CleanUpSettings, Removal } from './types.ts'
import { findUnused, isStopped } from './unused.ts'

export const cleanUpSubject = { type: 'unused objects', id: '', name: '' }

/** What would go now. */
export const drawPlan = async (engine: Engine, settings: CleanUpSettings): Promise<CleanUpPlan> => {
  engine.lastNeed.keepOnly('network', new Set(engine.networks.all().map(({ id }) => id)))
  engine.lastNeed.keepOnly('volume', new Set(engine.volumes.all().map(({ name }) => name)))
  return planCleanUp(settings, await findUnused(engine, settings), Date.now())
}

/** Removes one that is still unused; false where it is not any more. */
const remove = async (engine: Engine, { type, id }: Removal): Promise<boolean> => {
  if (type === 'container') {
    const container = engine.containers.byId(id)
    if (!container || !isStopped(container)) return false
    return await removeIfStopped(engine, container)
  }
  if (type === 'volume') {
    if (!engine.volumes.find(id)) return false
    await removeVolume(engine, id, { force: true })
    return true
  }
  const network = engine.networks.all().find(record => record.id === id)
  if (!network || isNamed(engine, network)) return false
  await removeNetwork(engine, network)
  return true
}

/** Somebody uses it after all. */
const isRefusal = (error: unknown): boolean =>
  error instanceof BerthError && (error.status === 409 || error.status === 403)

interface CleanUpRequest extends CleanUpCall {
  settings: CleanUpSettings
}

/**
 * Removes what the plan of now tells. What somebody begins to use meanwhile
 * stays; one that is cancelled keeps what it had removed removed.
 * Errors: `conflict` where another one is under way, or where the plan is another now.
 */
export const cleanUp = async (
  engine: Engine,
  { settings, ...call }: CleanUpRequest,
): Promise<CleanUpOutcome> => {
  const { operation } = call
  const plan = await planAlone(engine, { ...call, name: 'a clean-up' }, () => drawPlan(engine, settings))
  const [removed, skipped]: [Removal[], Removal[]] = [[], []]
  for (const removal of plan.removals) {
    operation.at(`removing the ${removal.type} ${removal.name}`)
    const isGone = await remove(engine, removal).catch(error => {
      if (isRefusal(error)) return false
      throw error
    })
    const list = isGone ? removed : skipped
    list.push(removal)
    if (isGone)
      engine.log.info(`the clean-up removed the ${removal.type} ${removal.name}`, { cause: removal.why })
    failpoint('clean-up.one')
  }
  return { plan, removed, skipped, freed: removed.reduce((sum, { bytes }) => sum + bytes, 0) }
}
