import { mkdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { UndoStack } from '../../core/disposal.ts'
import { BerthError } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import { newId } from '../../core/ids.ts'
import { makeTreesFolder } from '../../linux/unrelatedTrees.ts'
import type { Digest } from '../../oci/digest.ts'
import type { RegistryClient } from '../../registry-client/types.ts'
import type { SnapshotStore } from '../../store/types.ts'
import type { SourceOperation, VertexDigest } from '../graph/types.ts'
import { withoutPassword } from '../plan/gitUrl.ts'
import type { BuildContext, Tree, Work } from '../solver/types.ts'
import { listenForAgent } from './exec/agent.ts'
import { type StepClients, snapshotTree } from './exec/types.ts'
import { Parts } from './parts.ts'
import type { DownloadRecords } from './sources/downloadRecords.ts'
import { checkOut, commitTime, findCommit, type GitCommit, type GitFetch, gitKey } from './sources/git.ts'
import { download, type HttpRecord, httpKey, pinnedKey } from './sources/http.ts'

/** Repositories and downloads, into snapshots. */

type Git = SourceOperation & { kind: 'git' }
type Http = SourceOperation & { kind: 'http' }

/** Who fetches. */
type Fetching = Pick<Work, 'report' | 'signal' | 'builds'>

export interface RemoteParts {
  snapshots: SnapshotStore
  registries: Pick<RegistryClient, 'download'>
  records: DownloadRecords
  /** Folders that are only there while something is fetched. */
  root: string
  clientsOf(work: Fetching): StepClients
}

/**
 * What was found out to know what a source is, which its key is made of: just that is what a step is to
 * take under this key. Of a source that changes, another build may have found something else.
 */
interface Found {
  builds: Set<string>
  commit?: GitCommit
  record?: HttpRecord
  /** Until a step takes it; absent where nothing came, as it is known. */
  snapshot?: string
}

export class RemoteSources {
  readonly #parts: RemoteParts
  readonly #found = new Map<VertexDigest, Found[]>()

  constructor(parts: RemoteParts) {
    this.#parts = parts
  }

  async identify(operation: Git | Http, work: Work): Promise<Digest> {
    if (operation.kind === 'git') {
      const commit = await this.#fetching(operation, work, async fetch => await findCommit(operation, fetch))
      this.#note(work, { commit })
      return gitKey(operation, commit)
    }
    const pinned = pinnedKey(operation)
    if (pinned) return pinned
    const snapshot = newId()
    const known = this.#parts.records.find(operation)
    const record = await this.#download(operation, work, { id: snapshot, known })
    failpoint('fetch.downloaded')
    await this.#parts.records.note(operation, record)
    failpoint('fetch.noted')
    this.#note(work, record === known ? { record } : { record, snapshot })
    return httpKey(operation, record)
  }

  /** Seconds since the epoch: when the commit was made that is meant now. */
  async commitTime(operation: Git, work: Fetching): Promise<number> {
    return await this.#fetching(operation, work, async (fetch, folder) => {
      const commit = await findCommit(operation, fetch)
      return await commitTime(operation, commit, { ...fetch, work: folder })
    })
  }

  async run(operation: Git | Http, work: Work): Promise<Tree> {
    const id = newId()
    const found = this.#foundFor(work)
    if (operation.kind === 'git') {
      await this.#fetching(operation, work, async (fetch, folder) => {
        const commit = found?.commit ?? (await findCommit(operation, fetch))
        await using pending = await this.#parts.snapshots.begin(id, [], { isDirect: true })
        await checkOut(operation, commit, { ...fetch, root: pending.root, work: folder })
        failpoint('fetch.checked-out')
        await pending.commit({ signal: work.signal })
      })
      return snapshotTree([], id)
    }
    const { snapshot, record } = found ?? {}
    if (snapshot !== undefined) {
      delete found?.snapshot
      return snapshotTree([], snapshot)
    }
    const { digest } = await this.#download(operation, work, { id })
    if (record && record.digest !== digest) {
      await this.#parts.snapshots.remove(id)
      throw changedMeanwhile(operation)
    }
    return snapshotTree([], id)
  }

  #note({ vertex, builds }: Work, what: Omit<Found, 'builds'>): void {
    const others = this.#found.get(vertex.digest) ?? []
    this.#found.set(vertex.digest, [...others, { ...what, builds: new Set(builds().map(({ id }) => id)) }])
  }

  /** Of the builds that want this key. */
  #foundFor({ vertex, builds }: Work): Found | undefined {
    const ids = builds().map(({ id }) => id)
    return this.#found.get(vertex.digest)?.find(found => ids.some(id => found.builds.has(id)))
  }

  /** A build has ended: what was downloaded for it and not wanted goes. */
  async ended({ id }: BuildContext): Promise<void> {
    const over: Found[] = []
    for (const [digest, all] of [...this.#found]) {
      for (const { builds } of all) builds.delete(id)
      over.push(...all.filter(({ builds }) => builds.size === 0))
      const left = all.filter(({ builds }) => builds.size > 0)
      if (left.length > 0) this.#found.set(digest, left)
      else this.#found.delete(digest)
    }
    for (const { snapshot } of over) if (snapshot !== undefined) await this.#parts.snapshots.remove(snapshot)
  }

  /** Into a snapshot of this id, unless it is `known`. */
  async #download(
    operation: Http,
    { report, signal }: Work,
    { id, known }: { id: string; known?: HttpRecord | undefined },
  ): Promise<HttpRecord> {
    const parts = new Parts(report)
    await using pending = await this.#parts.snapshots.begin(id, [], { isDirect: true })
    const record = await download(operation, {
      root: pending.root,
      registries: this.#parts.registries,
      known,
      signal,
      onProgress: current => parts.transferred('downloading', current),
    })
    parts.finish()
    if (record !== known) await pending.commit({ signal })
    return record
  }

  /** With the client's agent and the keys of hosts, in a folder of its own. */
  async #fetching<T>(
    operation: Git,
    work: Fetching,
    use: (fetch: GitFetch, folder: string) => Promise<T>,
  ): Promise<T> {
    await using undo = new UndoStack()
    const folder = path.join(this.#parts.root, newId())
    makeTreesFolder(this.#parts.root, 0o700)
    mkdirSync(folder, { mode: 0o700 })
    undo.push('folder', () => rm(folder, { recursive: true, force: true }))
    failpoint('fetch.begun')
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
}

const changedMeanwhile = ({ url }: Http): BerthError =>
  new BerthError(
    'download-failed',
    500,
    `cannot download ${withoutPassword(url)}: it has changed between two requests of this build. Build again`,
  )
