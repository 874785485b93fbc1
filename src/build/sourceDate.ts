import { readdirSync } from 'node:fs'
import path from 'node:path'
import { hostPlatform } from '../engine/images/reach.ts'
import { AT_FDCWD } from '../linux/files.ts'
import { statAt } from '../linux/stat.ts'
import { GraphBuilder } from './graph/builder.ts'
import type { Graph, SourceOperation } from './graph/types.ts'
import { withoutPassword } from './plan/gitUrl.ts'

/** The time of what a build fetches, where that is to be the time of all that it makes: `SOURCE_DATE_EPOCH=context`. */

type Http = Extract<SourceOperation, { kind: 'http' }>

/** The vertex that steps have, too, so that nothing is fetched twice. */
export const downloadGraph = (operation: Http): Graph => {
  const builder = new GraphBuilder()
  const step = { name: withoutPassword(operation.url) }
  return builder.graph(builder.add({ operation, inputs: [], platform: hostPlatform, step }))
}

const second = 1_000_000_000n

/** Seconds; undefined where the server said nothing: the file has the epoch's then. */
export const dateOfDownload = (root: string): number | undefined => {
  const [name = ''] = readdirSync(root)
  const { mtime } = statAt(AT_FDCWD, path.join(root, name))
  return mtime === 0n ? undefined : Number(mtime / second)
}
