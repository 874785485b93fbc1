import type { ServiceImpl } from '@connectrpc/connect'
import {
  type ResultEntry,
  readResultDirectory,
  readResultFile,
  statResultFile,
} from '../../build/export/resultFiles.ts'
import type { StepContainer } from '../../build/steps/exec/stepContainer.ts'
import type { ExecMessage, LLBBridge } from '../../wire/buildkit/gateway_pb.ts'
import type { Call } from './bridge.ts'
import type { OpenBuild, Services } from './builds.ts'
import { containerQuery } from './containerMessages.ts'
import { partOf, statMessage } from './fileMessages.ts'
import { grpcError } from './grpcErrors.ts'
import { processStream } from './processStream.ts'

/** Calls of `LLBBridge` for containers in what a build made: their making, processes, files and end. */

type Bridge = Partial<ServiceImpl<typeof LLBBridge>>

/** `ref` names the container here. */
const mounted = async (
  { build }: OpenBuild,
  of: { ref: string; mountIndex: number },
): Promise<StepContainer> => await build.containers.get(of.ref, `${of.ref}@${of.mountIndex}`)

const fileCalls = (call: Call): Bridge => ({
  readFileContainer: (request, context) =>
    call(context, async open => {
      const container = await mounted(open, request)
      return { data: await container.look(request.mountIndex, root => readResultFile(root, partOf(request))) }
    }),
  readDirContainer: (request, context) =>
    call(context, async open => {
      const container = await mounted(open, request)
      const directory = { path: request.dirPath, pattern: request.includePattern }
      const entries = await container.look(request.mountIndex, root => readResultDirectory(root, directory))
      return { entries: entries.map(entry => statMessage(ownedInside(container, entry))) }
    }),
  statFileContainer: (request, context) =>
    call(context, async open => {
      const container = await mounted(open, request)
      const entry = await container.look(request.mountIndex, root => statResultFile(root, request.path))
      return { stat: statMessage(ownedInside(container, entry)) }
    }),
})

const ownedInside = (container: StepContainer, entry: ResultEntry): ResultEntry => ({
  ...entry,
  ...container.ownerInside(entry),
})

async function* execProcess(
  { builder }: Services,
  messages: AsyncIterable<ExecMessage>,
  wait: () => Promise<{ open: OpenBuild; signal: AbortSignal }>,
): AsyncGenerator<ExecMessage> {
  try {
    const { open, signal } = await wait()
    yield* processStream(open.build.containers, messages, signal)
  } catch (error) {
    throw grpcError(error, builder)
  }
}

export const containerCalls = (services: Services, call: Call): Bridge => ({
  newContainer: (request, context) =>
    call(context, async ({ build }, signal) => {
      await build.containers.add(containerQuery(request), signal)
      return {}
    }),
  releaseContainer: ({ containerId }, context) =>
    call(context, async ({ build }) => {
      await build.containers.release(containerId)
      return {}
    }),
  execProcess: (messages, context) =>
    execProcess(
      services,
      messages,
      async () => await call(context, async (open, signal) => ({ open, signal })),
    ),
  ...fileCalls(call),
})
