import { toBytes } from '../../archive/paths.ts'
import { internal } from '../../core/errors.ts'
import { newId } from '../../core/ids.ts'
import { type Digest, digestOf } from '../../oci/digest.ts'
import type { Layer } from '../../store/types.ts'
import type { BuildClient, HeldFolder } from '../clients/types.ts'
import type { SourceOperation } from '../graph/types.ts'
import type { BuildContext, Tree, Work } from '../solver/types.ts'
import { Parts } from './parts.ts'

/** A client's folder while a build has it. */
export interface LocalFolder {
  /** What stands for it where layers are read. */
  layer: Layer
  /** Another one for another content. */
  version: string
  /** Of its files, by path, as they came; empty where they came with an earlier build. */
  digests: ReadonlyMap<string, Digest>
}

const layerOf = (id: string, path: string): Layer => ({
  key: digestOf(Buffer.from(id)),
  diffId: digestOf(Buffer.from(id)),
  path,
  size: 0,
  diskBytes: 0,
  entries: 0,
  opaqueRoot: false,
})

/** Folders of clients, as trees of one layer that is in no store. */
export class LocalFolders {
  readonly #clientOf: (build: BuildContext) => BuildClient
  readonly #folders = new Map<string, LocalFolder & { held: HeldFolder }>()

  constructor(clientOf: (build: BuildContext) => BuildClient) {
    this.#clientOf = clientOf
  }

  /** Brings it; it is held until it is discarded. */
  async take(
    { name, include, exclude, follow, sharedKey, differ }: SourceOperation & { kind: 'local' },
    { builds, report, signal }: Work,
  ): Promise<Tree> {
    const [build] = builds()
    if (!build) throw internal('a folder is wanted by no build')
    const parts = new Parts(report)
    const request = {
      ...{ name, sharedKey, differ },
      ...(include ? { include } : {}),
      ...(exclude ? { exclude } : {}),
      ...(follow ? { follow } : {}),
    }
    const held = await this.#clientOf(build).folder(request, signal, bytes =>
      parts.transferred(`transferring ${name}:`, bytes),
    )
    parts.finish()
    const id = `folder-${newId()}`
    const digests = new Map(
      held.entries.flatMap(({ path, digest }) =>
        digest ? [[toBytes(path).toString('utf8'), digest] as const] : [],
      ),
    )
    this.#folders.set(id, { held, layer: layerOf(id, held.path), version: held.version, digests })
    return { layers: [{ kind: 'snapshot', id }] }
  }

  /** Undefined for a tree that is no folder of a client. */
  find({ layers: [first] }: Tree): LocalFolder | undefined {
    return first?.kind === 'snapshot' ? this.#folders.get(first.id) : undefined
  }

  /** False where it is none of these. */
  async discard(id: string): Promise<boolean> {
    const folder = this.#folders.get(id)
    this.#folders.delete(id)
    await folder?.held[Symbol.asyncDispose]()
    return folder !== undefined
  }
}
