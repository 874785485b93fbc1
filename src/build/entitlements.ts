import { badRequest } from '../core/errors.ts'
import type { ExecOperation, Graph } from './graph/types.ts'

/** What a build may do beyond its sandbox, where the client and the daemon allow it. */

export const entitlements = ['network.host', 'security.insecure'] as const
export type Entitlement = (typeof entitlements)[number]

const isEntitlement = (text: string): text is Entitlement =>
  (entitlements as readonly string[]).includes(text)

/** What clients ask for; who names devices asks for what specifications of CDI give, which needs no word here. Errors: `bad-request`. */
export const readEntitlements = (
  asked: readonly string[],
  allowed: ReadonlySet<Entitlement>,
): Set<Entitlement> => {
  const granted = new Set<Entitlement>()
  for (const text of asked) {
    if (text === 'device' || text.startsWith('device=')) continue
    if (!isEntitlement(text)) throw badRequest(`unknown entitlement ${text}`)
    if (!allowed.has(text))
      throw badRequest(`granting entitlement ${text} is not allowed by build daemon configuration`)
    granted.add(text)
  }
  return granted
}

/** Errors: `bad-request` where it needs what is not granted. */
export const checkEntitled = (
  { network, security }: Pick<ExecOperation, 'network' | 'security'>,
  granted: ReadonlySet<Entitlement>,
): void => {
  const need = (entitlement: Entitlement): void => {
    if (!granted.has(entitlement))
      throw badRequest(
        `${entitlement} is not allowed: the build has to be started with --allow ${entitlement}`,
      )
  }
  if (network === 'host') need('network.host')
  if (security === 'insecure') need('security.insecure')
}

/** Errors: `bad-request` where a step needs what is not granted. */
export const checkEntitlements = ({ vertices }: Graph, granted: ReadonlySet<Entitlement>): void => {
  for (const { operation } of vertices.values())
    if (operation.kind === 'exec') checkEntitled(operation, granted)
}
