import type { Builder } from '../build/builder.ts'
import { classicBuild, failedCommand } from '../build/classic/classicBuild.ts'
import { bareClient } from '../build/clients/bareClient.ts'
import { namesTold } from '../build/export/options.ts'
import { readAttributes } from '../build/frontend/attributes.ts'
import { FrontendError } from '../build/frontend/frontend.ts'
import { BuildProgress } from '../build/solver/progress.ts'
import { asBerthError, BerthError, notImplemented } from '../core/errors.ts'
import { newId } from '../core/ids.ts'
import { familiar } from '../oci/reference.ts'
import { excerptsOfError, warningInfo } from './buildkit/excerpts.ts'
import { recordedBuild } from './buildRecord.ts'
import { attributesOf, namesOf, refuseUnbuilt } from './classicBuildQuery.ts'
import { progressLines } from './progressLines.ts'
import { registryCredentials } from './registryAuth.ts'
import type { Call, Route } from './route.ts'
import { requesterOf, tracked } from './track.ts'

/** `POST /build` of the classic builder: the context is the request's body. */

/** What a client prints behind `Error response`, with the lines of the Dockerfile that it is about. */
const told = (error: unknown): BerthError => {
  if (!(error instanceof FrontendError)) return asBerthError(error)
  const line = error.ranges[0]?.start.line
  const where =
    line === undefined || /line \d/.test(error.message) ? '' : `${error.source.fileName}:${line}: `
  return new BerthError(error.code, error.status, `${where}${error.message}`, { cause: error })
}

/** The record is written as output comes: little of it waits. */
const recordedLogBytes = 4 << 20

const build = async (builder: Builder, call: Call): Promise<undefined> => {
  const { query, req } = call
  refuseUnbuilt(query)
  const given = attributesOf(query)
  const attributes = readAttributes(given)
  const names = namesOf(query)
  const credentials = registryCredentials(call)
  const quiet = query.flag('q')
  const what = {
    verb: 'build',
    subject: { type: 'image', id: '', name: names.map(familiar).join(',') },
    endsWithClient: true,
  }
  return await progressLines(call, async report => {
    try {
      await tracked(call, what, async operation => {
        using client = query.get('remote')
          ? bareClient(credentials)
          : await builder.unpack(req, operation.signal, credentials)
        const tell = (line: object): void => {
          if (!quiet || 'aux' in line) report(line)
        }
        const progress = new BuildProgress(recordedLogBytes)
        const inputs = {
          ...{ ref: newId(), frontend: 'dockerfile.v0', attributes: given, requester: requesterOf(call) },
          exporters: [{ type: 'moby', attributes: { name: names.map(familiar).join(',') } }],
        }
        await recordedBuild(
          { history: builder.history, inputs, progress, sourcesOf: excerptsOfError },
          async () => {
            const id = await classicBuild({
              ...{ builder, client, attributes, names, operation, tell },
              ref: inputs.ref,
              isSquashed: query.flag('squash'),
              hear: event => progress.hear(event),
              warn: warning => progress.warn(warningInfo(warning)),
            })
            if (quiet) report({ stream: `${id}\n` })
            return { 'containerimage.config.digest': id, 'containerimage.digest': id, ...namesTold(names) }
          },
        )
      })
    } catch (error) {
      const failed = failedCommand(error)
      if (!failed) throw told(error)
      report({ errorDetail: failed, error: failed.message })
    }
  })
}

export const classicBuildRoute = (builder: Builder | undefined): Route => ({
  method: 'POST',
  path: '/build',
  operation: 'ImageBuild',
  lacks: 'outputs',
  handle: async call => {
    if (!builder) throw notImplemented('building an image')
    return await build(builder, call)
  },
})
