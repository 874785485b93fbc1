import { hasCode } from '../../core/errors.ts'
import { sharedKeyOf } from '../session/contextSync.ts'
import { credentialsOf } from '../session/credentials.ts'
import { readFiles } from '../session/readFiles.ts'
import { getSecret } from '../session/secrets.ts'
import type { Session } from '../session/session.ts'
import { checkAgent, forwardAgent } from '../session/ssh.ts'
import type { ClientFolders } from './folders.ts'
import type { BuildClient } from './types.ts'

/** Bytes of a Dockerfile with what belongs to it. */
const mostText = 8 << 20

/** Docker's own registry, by the name under which clients keep passwords for it. */
const dockerHub = 'https://index.docker.io/v1/'

const unlessAbsent = async <T>(work: Promise<T>, ...codes: string[]): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (codes.some(code => hasCode(error, code))) return undefined
    throw error
  }
}

/** A client that has a session. */
export const sessionClient = (session: Session, folders: ClientFolders): BuildClient => ({
  session: session.id,
  folder: async ({ sharedKey, ...request }, signal, onProgress) =>
    await folders.take(sharedKeyOf(session, { name: request.name, hint: sharedKey }), {
      session,
      request,
      signal,
      onProgress,
    }),
  readFiles: async (name, paths, signal) =>
    await readFiles(session, { name, paths, limit: mostText }, signal),
  secret: async (id, signal) => await unlessAbsent(getSecret(session, id, signal), 'secret-not-found'),
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
