import type { Link } from '../linux/rtnetlink.ts'

/**
 * The mark on links of ours, kept as their alias: which daemon (by its table),
 * and whose they are. What has no mark is not ours and is never touched.
 */
export type LinkOwner =
  | { kind: 'bridge'; networkId: string }
  | { kind: 'endpoint'; containerId: string; networkId: string }
  | { kind: 'detour' }

export const aliasOf = (table: string, owner: LinkOwner): string => {
  if (owner.kind === 'detour') return `${table}:detour`
  return owner.kind === 'bridge'
    ? `${table}:bridge:${owner.networkId}`
    : `${table}:endpoint:${owner.containerId}:${owner.networkId}`
}

/** Whose link this is; undefined where it is not this daemon's. */
export const ownerOf = (table: string, { alias }: Pick<Link, 'alias'>): LinkOwner | undefined => {
  const [owner, kind, first, second] = alias.split(':')
  if (owner !== table) return undefined
  if (kind === 'detour') return { kind }
  if (kind === 'bridge' && first) return { kind, networkId: first }
  if (kind === 'endpoint' && first && second) return { kind, containerId: first, networkId: second }
  return undefined
}
