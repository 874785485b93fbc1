import { nowNanos } from '../core/clock.ts'
import { truthOf } from '../wire/truth.ts'
import type { VertexDigest } from './graph/types.ts'
import type { BuildEvent } from './solver/types.ts'
import { whyText } from './solver/whyText.ts'

type Tell = (event: BuildEvent) => void

/** `--build-arg BERTH_EXPLAIN=1`. A Dockerfile that does not declare it never sees it, so that it changes no step. */
export const wantsExplanation = (given: Readonly<Record<string, string>>): boolean =>
  truthOf(given['BERTH_EXPLAIN'] ?? '') ?? false

/** What is told, and why each step is not cached in its own output, before all that it writes itself. */
export const explaining = (tell: Tell): Tell => {
  const untold = new Map<VertexDigest, string>()
  return event => {
    tell(event)
    if (event.kind === 'causes')
      untold.set(event.vertex, event.causes.map(cause => `not cached: ${whyText(cause)}\n`).join(''))
    // Clients leave out the lines of a step that has not begun.
    if (event.kind !== 'vertex' || event.state === 'waiting') return
    const { digest } = event.vertex
    const text = untold.get(digest)
    if (text === undefined) return
    untold.delete(digest)
    tell({
      kind: 'output',
      vertex: digest,
      stream: 'stderr',
      bytes: Buffer.from(text),
      time: event.startedAt ?? nowNanos(),
    })
  }
}
