import type { CacheRecord } from '../types.ts'
import type { UsageRow } from '../usage.ts'

export const rowOf = (own: Partial<UsageRow> & { id: string }): UsageRow => ({
  kind: 'regular',
  description: '',
  parents: [],
  inUse: own.held ?? false,
  held: false,
  shared: false,
  mutable: false,
  size: 10,
  createdAt: 0,
  lastUsedAt: 0,
  usageCount: 1,
  duration: 0,
  found: true,
  ...own,
})

export const recordOf = (own: Partial<CacheRecord> & { id: string }): CacheRecord => ({
  kind: 'regular',
  description: '',
  tree: { layers: [] },
  keys: [],
  parents: [],
  createdAt: 0,
  lastUsedAt: 0,
  usageCount: 1,
  duration: 0,
  ...own,
})

export const ids = (rows: readonly { id: string }[]): string[] => rows.map(({ id }) => id)
