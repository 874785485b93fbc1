import { conflict } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Operation } from '../operations.ts'

export const cleanUpVerb = 'clean-up'

/** What a clean-up is asked for beside its rules. */
export interface CleanUpCall {
  /** The plan that is expected; any where it is absent. */
  planId?: string
  operation: Operation
}

/**
 * The plan that a clean-up carries out.
 * Errors: `conflict` where another one of the same objects is under way, or where the plan is another now.
 */
export const planAlone = async <P extends { id: string }>(
  engine: Engine,
  { planId, operation, name }: CleanUpCall & { name: string },
  draw: () => Promise<P>,
): Promise<P> => {
  const isOther = ({ verb, subject }: Operation): boolean =>
    verb === cleanUpVerb && subject.type === operation.subject.type
  if (engine.operations.all().some(other => other !== operation && isOther(other)))
    throw conflict(`${name} is under way: wait for its end, or cancel it`)
  operation.at('drawing its plan')
  const plan = await draw()
  if (planId !== undefined && planId !== plan.id)
    throw conflict(`the plan ${planId} would be another one now (${plan.id}): look at it again`)
  return plan
}
