import type { Duplex } from 'node:stream'
import type { Credentials } from '../../registry-client/types.ts'
import type { ClientStore } from '../session/content.ts'
import type { ContextRequest, SyncedEntry } from '../session/types.ts'

/** What is asked of a client's folder, and by what the client knows it again. */
export interface FolderRequest extends ContextRequest {
  sharedKey: string
}

/** A client's folder, as it is for one build: nothing in it changes until it is disposed of. */
export interface HeldFolder extends AsyncDisposable {
  path: string
  /** Another one for another content; what is known of a content stays known with it. */
  version: string
  /** Not told again where the version is that of before. */
  entries: readonly SyncedEntry[]
}

/** What who asked for a build gives it: over a session, or with the request. Disposing of it removes what it sent for this build alone. */
export interface BuildClient extends Disposable {
  /** Of its session; empty where it has none. */
  readonly session: string
  /** Errors: those of a sync (`ContextFolder.sync`). `onProgress`: bytes so far. */
  folder(
    request: FolderRequest,
    signal: AbortSignal,
    onProgress: (bytes: number) => void,
  ): Promise<HeldFolder>
  /** Small files of a folder, those that are there. */
  readFiles(folder: string, paths: readonly string[], signal: AbortSignal): Promise<Map<string, Buffer>>
  /** Undefined where it has none of this id. */
  secret(id: string, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** Opens connections to its agent; undefined where it forwards none of this id. */
  agent(id: string, signal: AbortSignal): Promise<(() => Promise<Duplex>) | undefined>
  /** A store of blobs by its id; undefined where it can have none. */
  store(id: string, signal: AbortSignal): ClientStore | undefined
  /** For a registry; undefined where it has none. */
  credentials(domain: string, signal: AbortSignal): Promise<Credentials | undefined>
}
