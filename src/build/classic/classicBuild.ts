import { causeOf } from '../../core/errors.ts'
import type { Operation } from '../../engine/operations.ts'
import type { Digest } from '../../oci/digest.ts'
import { familiar, type Reference, withDefaultTag } from '../../oci/reference.ts'
import type { BuildWarning } from '../build.ts'
import type { Builder } from '../builder.ts'
import { importCaches } from '../cacheTransfer/importCaches.ts'
import { readCacheSources } from '../cacheTransfer/options.ts'
import type { BuildClient } from '../clients/types.ts'
import type { FrontendAttributes } from '../frontend/attributes.ts'
import type { BuildEvent } from '../solver/types.ts'
import { StepFailed } from '../steps/exec/runExec.ts'
import { classicSteps } from './steps.ts'
import { ClassicStream } from './stream.ts'

export interface ClassicRequest {
  builder: Builder
  client: BuildClient
  attributes: FrontendAttributes
  names: readonly Reference[]
  /** One layer is made of all that it added; that image gets the names, the other one stays without. */
  isSquashed: boolean
  operation: Operation
  /** The build's name. */
  ref: string
  /** Hears of all that it does; never waits, never throws. */
  hear(event: BuildEvent): void
  /** What checks found. */
  warn(warning: BuildWarning): void
  /** Lines of the answer. */
  tell(line: object): void
}

/** What a classic client is told of a process that failed. */
export const failedCommand = (error: unknown): { code: number; message: string } | undefined => {
  const failed = causeOf(error, StepFailed)
  return (
    failed && {
      code: failed.exitCode,
      message: `The command '${failed.command}' returned a non-zero code: ${failed.exitCode}`,
    }
  )
}

/** A build for a client of the classic builder (`POST /build`), by the same solver as all. */
export const classicBuild = async (request: ClassicRequest): Promise<Digest> => {
  const { builder, client, attributes, names, isSquashed, operation, ref, tell } = request
  // What is refused is so before anything begins.
  const sources = readCacheSources(attributes.cacheImports)
  const say = (stream: string): void => tell({ stream })
  const stream = new ClassicStream(say)
  await using build = builder.begin({
    ...{ id: ref, client, operation },
    // The classic API has no word for it, and takes `--network=host`.
    granted: new Set(['network.host']),
    tell: event => {
      stream.hear(event)
      request.hear(event)
    },
    warn: warning => {
      const { rule, message, ranges } = warning
      say(`[Warning] ${rule}: ${message} (line ${ranges[0]?.start.line ?? 0})\n`)
      request.warn(warning)
    },
  })
  const planned = await build.plan(attributes)
  const [first] = planned.plans
  if (!first) throw new Error('a build without a platform')
  const { graph } = first.plan
  stream.begin(classicSteps(planned.dockerfile, graph, attributes.target), graph.vertices.values())
  const imported = await importCaches({
    ...{ build, engine: builder.engine, platforms: attributes.platforms },
    sources,
    missed: why => say(`[Warning] no cache is used: ${why}\n`),
  })
  const built = await build.result({ ...first, source: planned.source }, { imported }).made()
  stream.end()
  const whole = await build.exportImage(built, isSquashed ? [] : names)
  tell({ aux: { ID: whole.id } })
  const image = isSquashed ? await build.squashImage(whole, built, names) : whole
  if (isSquashed) tell({ aux: { ID: image.id } })
  say(` ---> ${image.id.slice(7, 19)}\n`)
  say(`Successfully built ${image.id.slice(7, 19)}\n`)
  for (const name of names) say(`Successfully tagged ${familiar(withDefaultTag(name))}\n`)
  return image.id
}
