import type { Builder as BuildEngine } from '../../build/builder.ts'
import type { HistoryBlob } from '../../build/history/history.ts'
import { parseRowFilters } from '../../build/solver/filter.ts'
import type { UsageRow } from '../../build/solver/usage.ts'
import { gatewayOfHost } from '../../engine/containers/extraHosts.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import type { Digest } from '../../oci/digest.ts'
import { DoorBuild } from './engineBuild.ts'
import { excerptsOfError } from './excerpts.ts'
import type { Builder, Usage } from './types.ts'

/** BuildKit's door of the engine's builder. */

/** Nanoseconds of a millisecond. */
const million = 1_000_000n

const usageMessageOf = (row: UsageRow): Usage => ({
  id: row.id,
  isMutable: row.mutable,
  isInUse: row.inUse,
  isShared: row.shared,
  size: BigInt(row.size),
  parents: row.parents,
  createdAt: BigInt(Math.round(row.createdAt)) * million,
  lastUsedAt: BigInt(Math.round(row.lastUsedAt)) * million,
  usageCount: BigInt(row.usageCount),
  description: row.description,
  type: row.kind,
})

/** By this, clients know what `--add-host=NAME:host-gateway` stands for. */
const hostGatewayLabel = ({ engine }: BuildEngine): Record<string, string> => {
  const gateway = gatewayOfHost(engine)
  return gateway === '' ? {} : { 'org.mobyproject.buildkit.worker.moby.host-gateway-ip': gateway }
}

const imageBlob = async ({ engine }: BuildEngine, digest: Digest): Promise<HistoryBlob | undefined> => {
  const info = await engine.content.info(digest)
  return (
    info && {
      size: info.size,
      read: part =>
        engine.content.open(digest, part && { start: part.start, end: part.start + part.size - 1 }),
    }
  )
}

export const engineBuilder = (builder: BuildEngine, version: string): Builder => ({
  sessions: builder.sessions,
  version: { package: 'github.com/moby/buildkit', version, revision: '' },
  workers: () => [
    {
      id: 'berth',
      labels: {
        'org.mobyproject.buildkit.worker.executor': 'berth',
        // By this, clients know that archives and images of several platforms can be had.
        'org.mobyproject.buildkit.worker.snapshotter': 'overlayfs',
        ...hostGatewayLabel(builder),
      },
      platforms: [hostPlatform],
      collection: [],
    },
  ],
  begin: (request, tell, requester) => new DoorBuild({ builder, request, tell, requester }),
  sourcesOf: excerptsOfError,
  usage: async ({ filters, ageLimit }) => {
    const filter = parseRowFilters(filters)
    const until = Date.now() - Number(ageLimit / million)
    const rows = await builder.upkeep.rows()
    return rows.filter(row => filter(row) && (ageLimit === 0n || row.lastUsedAt <= until)).map(usageMessageOf)
  },
  prune: async function* (policy) {
    const gone = await builder.upkeep.prune({
      all: policy.all,
      filter: parseRowFilters(policy.filters),
      keepDuration: Number(policy.keepDuration / million),
      reservedSpace: Number(policy.reservedSpace),
      maxUsedSpace: Number(policy.maxUsedSpace),
      minFreeSpace: Number(policy.minFreeSpace),
    })
    for (const row of gone) yield usageMessageOf(row)
  },
  history: builder.history,
  blob: async digest => (await builder.history.blob(digest)) ?? (await imageBlob(builder, digest)),
})
