import type { Entitlement } from '../build/entitlements.ts'
import { type HistoryLimits, readHistoryLimits } from '../build/history/limits.ts'
import { readGcRules } from '../build/solver/gc.ts'
import { badRequest } from '../core/errors.ts'

/** `builder` of daemon.json: what the build cache may have, what builds may ask for, what is kept of them. */
export interface BuilderSettings {
  /** As it was given: the rules depend on the disk. */
  gc: unknown
  entitlements: ReadonlySet<Entitlement>
  history: HistoryLimits
}

const objectOf = (value: unknown, what: string): Record<string, unknown> => {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw badRequest(`${what} is not an object`)
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]))
}

/** As dockerd: the host's network unless it is denied, all privileges only where they are allowed. */
const entitlementsOf = (value: unknown): Set<Entitlement> => {
  const given = objectOf(value, 'builder.entitlements')
  const isAllowed = (key: string, otherwise: boolean): boolean => {
    const allowed = given[key] ?? otherwise
    if (typeof allowed !== 'boolean') throw badRequest(`builder.entitlements.${key} is not true or false`)
    return allowed
  }
  return new Set<Entitlement>([
    ...(isAllowed('network-host', true) ? (['network.host'] as const) : []),
    ...(isAllowed('security-insecure', false) ? (['security.insecure'] as const) : []),
  ])
}

/** Errors: `bad-request` that names the field. */
export const builderSettingsOf = (value: unknown): BuilderSettings => {
  const { gc, entitlements, history } = objectOf(value, 'builder')
  readGcRules(gc, undefined, 0)
  return { gc, entitlements: entitlementsOf(entitlements), history: readHistoryLimits(history) }
}
