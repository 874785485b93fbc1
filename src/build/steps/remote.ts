import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { UndoStack } from '../../core/disposal.ts'
import { newId } from '../../core/ids.ts'
import type { Digest } from '../../oci/digest.ts'
import type { SnapshotStore } from '../../store/types.ts'
import type { SourceOperation, VertexDigest } from '../graph/types.ts'
import type { BuildContext, Tree, Work } from '../solver/types.ts'
import { listenForAgent } from './exec/agent.ts'
import { type StepClients, snapshotTree } from './exec/types.ts'
import { Parts } from './parts.ts'
import { checkOut, findCommit, type GitFetch, gitKey } from './sources/git.ts'
import {
  download,
  type HttpConnections,
  type HttpRecord,
  httpConnections,
  httpKey,
  pinnedKey,
} from './sources/http.ts'

/** Repositories and downloads, into snapshots. */

type Git = SourceOperation & { kind: 'git' }
type Http = SourceOperation & { kind: 'http' }

export interface RemoteParts {
  snapshots: SnapshotStore
  /** Folders that are only there while something is fetched. */
  root: string
  clientsOf(work: Work): StepClients
}

/** What was downloaded to know what it is, until a step wants it or its builds have ended. */
interface Kept {
  snapshot: string
  builds: Set<string>
}

export class RemoteSources implements AsyncDisposable {
  readonly #parts: RemoteParts
  readonly #kept = new Map<VertexDigest, Kept>()
  #connections: Promise<HttpConnections> | undefined

  constructor(parts: RemoteParts) {
    this.#parts = parts
  }

  async identify(operation: Git | Http, work: Work): Promise<Digest> {
    if (operation.kind === 'git')
      return await this.#fetching(operation, work, async fetch =>
        gitKey(operation, await findCommit(operation, fetch)),
      )
    const pinned = pinnedKey(operation)
    if (pinned) return pinned
    const snapshot = newId()
    const record = await this.#download(operation, work, snapshot)
    const { digest } = work.vertex
    const before = this.#kept.get(digest)
    this.#kept.set(digest, { snapshot, builds: new Set(work.builds().map(({ id }) => id)) })
    if (before) await this.#parts.snapshots.remove(before.snapshot)
    return httpKey(operation, record)
  }

  async run(operation: Git | Http, work: Work): Promise<Tree> {
    const id = newId()
    if (operation.kind === 'git') {
      await this.#fetching(operation, work, async (fetch, folder) => {
        const commit = await findCommit(operation, fetch)
        await using pending = await this.#parts.snapshots.begin(id, [], { isDirect: true })
        await checkOut(operation, commit, { ...fetch, root: pending.root, work: folder })
        await pending.commit({ signal: work.signal })
      })
      return snapshotTree([], id)
    }
    const kept = this.#kept.get(work.vertex.digest)
    this.#kept.delete(work.vertex.digest)
    if (kept) return snapshotTree([], kept.snapshot)
    await this.#download(operation, work, id)
    return snapshotTree([], id)
  }

  /** A build has ended: what was downloaded for it and not wanted goes. */
  async ended({ id }: BuildContext): Promise<void> {
    for (const [digest, { builds, snapshot }] of [...this.#kept]) {
      builds.delete(id)
      if (builds.size > 0) continue
      this.#kept.delete(digest)
      await this.#parts.snapshots.remove(snapshot)
    }
  }

  async #download(operation: Http, { report, signal }: Work, id: string): Promise<HttpRecord> {
    this.#connections ??= httpConnections()
    const parts = new Parts(report)
    await using pending = await this.#parts.snapshots.begin(id, [], { isDirect: true })
    const record = await download(operation, {
      root: pending.root,
      connections: await this.#connections,
      signal,
      onProgress: current => parts.transferred('downloading', current),
    })
    parts.finish()
    await pending.commit({ signal })
    return record
  }

  /** With the client's agent and the keys of hosts, in a folder of its own. */
  async #fetching<T>(
    operation: Git,
    work: Work,
    use: (fetch: GitFetch, folder: string) => Promise<T>,
  ): Promise<T> {
    await using undo = new UndoStack()
    const folder = path.join(this.#parts.root, newId())
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    undo.push('folder', () => rmSync(folder, { recursive: true, force: true }))
    const clients = this.#parts.clientsOf(work)
    const fetch: GitFetch = {
      signal: work.signal,
      output: bytes => work.report.output('stderr', bytes),
      secret: async name => {
        const value = await clients.secret(name, work.signal)
        return value && Buffer.from(value).toString('utf8')
      },
    }
    const connect = operation.ssh === undefined ? undefined : await clients.agent(operation.ssh, work.signal)
    if (connect) {
      const socket = path.join(folder, 'agent')
      const listener = await listenForAgent(socket, connect)
      undo.push('agent', () => listener[Symbol.asyncDispose]())
      fetch.sshSocket = socket
    }
    if (operation.knownHosts !== undefined) {
      fetch.knownHostsFile = path.join(folder, 'known_hosts')
      writeFileSync(fetch.knownHostsFile, operation.knownHosts, { mode: 0o600 })
    }
    const inner = path.join(folder, 'work')
    mkdirSync(inner)
    return await use(fetch, inner)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#connections)?.[Symbol.asyncDispose]()
  }
}
