import { hasCode, unlessCode } from '../../core/errors.ts'
import { clientStore } from '../session/content.ts'
import { sharedKeyOf } from '../session/contextSync.ts'
import { credentialsOf } from '../session/credentials.ts'
import { readFiles } from '../session/readFiles.ts'
import { getSecret } from '../session/secrets.ts'
import type { Session } from '../session/session.ts'
import { checkAgent, forwardAgent } from '../session/ssh.ts'
import { isUpload, pullUpload } from '../session/upload.ts'
import type { ClientFolders } from './folders.ts'
import type { BuildClient } from './types.ts'

/** Bytes of a Dockerfile with what belongs to it. */
const mostText = 8 << 20

/** Docker's own registry, by the name under which clients keep passwords for it. */
const dockerHub = 'https://index.docker.io/v1/'

export interface SessionClientParts {
  folders: ClientFolders
  /** Unpacks what the client had from its standard input. */
  unpack(source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<BuildClient>
}

/** A client that has a session. */
export const sessionClient = (session: Session, { folders, unpack }: SessionClientParts): BuildClient => {
  const unpacked = new Map<string, Promise<BuildClient>>()
  const archive = (url: string, signal: AbortSignal): Promise<BuildClient> =>
    unpacked.getOrInsertComputed(url, () => unpack(pullUpload(session, url, signal), signal))
  return {
    folder: async ({ sharedKey, ...request }, signal, onProgress) => {
      if (isUpload(request.name))
        return await (await archive(request.name, signal)).folder(
          { sharedKey, ...request },
          signal,
          onProgress,
        )
      const key = sharedKeyOf(session, { name: request.name, hint: sharedKey })
      return await folders.take(key, { session, request, signal, onProgress })
    },
    readFiles: async (name, paths, signal) =>
      isUpload(name)
        ? await (await archive(name, signal)).readFiles(name, paths, signal)
        : await readFiles(session, { name, paths, limit: mostText }, signal),
    ...offered(session),
    [Symbol.dispose]: () => {
      for (const client of unpacked.values())
        client.then(
          found => found[Symbol.dispose](),
          () => {},
        )
    },
  }
}

/** What is asked for by name. */
const offered = (
  session: Session,
): Pick<BuildClient, 'session' | 'secret' | 'agent' | 'store' | 'credentials'> => ({
  session: session.id,
  store: (id, signal) => clientStore(session, id, signal),
  secret: async (id, signal) => await unlessCode(getSecret(session, id, signal), 'secret-not-found'),
  agent: async (id, signal) => {
    try {
      await checkAgent(session, id, signal)
    } catch (error) {
      if (hasCode(error, 'session-closed') || signal.aborted) throw error
      return undefined
    }
    return async () => forwardAgent(session, id, signal)
  },
  credentials: async (domain, signal) =>
    await credentialsOf(session, domain === 'docker.io' ? dockerHub : domain, signal),
})
