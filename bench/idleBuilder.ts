import { rmSync } from 'node:fs'
import path from 'node:path'
import { create } from '@bufbuild/protobuf'
import { BuildContainers } from '../src/api/buildkit/buildContainers.ts'
import { buildkitServices } from '../src/api/buildkit/services.ts'
import type { Build, Builder, BuildResult } from '../src/api/buildkit/types.ts'
import { readIgnoreFile } from '../src/build/dockerfile/ignore.ts'
import { openContext } from '../src/build/session/contextSync.ts'
import { FrameSplitter, frame } from '../src/build/session/grpcFrames.ts'
import { packet, packetTypes, writePacket } from '../src/build/session/packets.ts'
import { readFiles } from '../src/build/session/readFiles.ts'
import type { Session } from '../src/build/session/session.ts'
import type { Sessions } from '../src/build/session/sessions.ts'
import { hostPlatform } from '../src/engine/images/reach.ts'
import { type Definition, DefinitionSchema } from '../src/wire/buildkit/ops_pb.ts'
import { serveBeside } from '../tests/harness/beside.ts'
import { startBuilder } from '../tests/harness/builder.ts'

/**
 * A server that clients build with, and that builds nothing: it reads the Dockerfile and hears the list of the context,
 * and that is all. What a build takes here is the client's own time. A process beside the bench, which says its socket.
 */

const fin = frame(writePacket(packet(packetTypes.fin)))

const small = 1 << 20

const textOf = async (session: Session, name: string, file: string, signal: AbortSignal): Promise<string> => {
  const files = await readFiles(session, { name, paths: [file], limit: small }, signal)
  return files.get(file)?.toString() ?? ''
}

/** Hears what the client's folder has, and asks for none of it. */
const hearList = async (session: Session, exclude: string[], signal: AbortSignal): Promise<void> => {
  using stream = openContext(session, { name: 'context', exclude }, signal)
  const splitter = new FrameSplitter()
  for await (const chunk of stream.chunks())
    for (const message of splitter.push(chunk)) {
      // The list ends with a packet that has nothing in it.
      if (message.length === 0) await stream.write(fin)
      else if (message[1] === packetTypes.fin) stream.endSending()
    }
}

const refused = async (): Promise<never> => {
  throw new Error('nothing is built here')
}

class NoBuild implements Build {
  readonly #session: Promise<Session>

  constructor(session: Promise<Session>) {
    this.#session = session
  }

  async solve(_request: unknown, signal: AbortSignal): Promise<BuildResult> {
    const session = await this.#session
    const [, ignored] = await Promise.all([
      textOf(session, 'dockerfile', 'Dockerfile', signal),
      textOf(session, 'context', '.dockerignore', signal),
    ])
    await hearList(session, readIgnoreFile(ignored), signal)
    return { metadata: {} }
  }

  async finish(): Promise<Record<string, string>> {
    return { 'containerimage.digest': `sha256:${'0'.repeat(64)}` }
  }

  readonly definition = (): Definition => create(DefinitionSchema)
  readonly containers = new BuildContainers({ treeOf: refused, make: refused })
  readonly evaluate = refused
  readonly readFile = refused
  readonly readDirectory = refused
  readonly statFile = refused
  readonly resolveImage = refused
  async [Symbol.asyncDispose](): Promise<void> {}
}

const noBuilder = (sessions: Sessions): Builder => ({
  sessions,
  version: { package: 'none', version: '0', revision: '' },
  workers: () => [
    {
      id: 'none',
      labels: { 'org.mobyproject.buildkit.worker.snapshotter': 'overlayfs' },
      platforms: [hostPlatform],
      collection: [],
    },
  ],
  begin: ({ session }) => new NoBuild(sessions.wait(session, new AbortController().signal)),
  sourcesOf: () => [],
  usage: async () => [],
  prune: async function* () {},
})

const { base } = await startBuilder({
  routes: (router, sessions) => buildkitServices(noBuilder(sessions))(router),
})
process.once('exit', () => rmSync(base, { recursive: true, force: true }))
await serveBeside(path.join(base, 'docker.sock'))
