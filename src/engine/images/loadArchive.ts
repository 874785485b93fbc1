import path from 'node:path'
import { decompress } from '../../archive/compression.ts'
import { readTar, type TarMember } from '../../archive/reader.ts'
import { untilAborted } from '../../core/abort.ts'
import { badRequest } from '../../core/errors.ts'
import { failpoint } from '../../core/failpoint.ts'
import type { Digest } from '../../oci/digest.ts'
import type { ArrivingLayer } from '../../store/types.ts'
import type { Engine } from '../engine.ts'

/** The reading of an archive of images, in one pass: its files become blobs, whoever wrote it. */

/** Small files of an archive are kept whole: indexes, manifests, configurations. */
const maxJson = 8 * 1024 * 1024

/** Files that tell what is in an archive. */
const kept = ['index.json', 'manifest.json', 'oci-layout', 'repositories']
/** Where others than OCI layouts have configurations and layers, whatever they call them. */
const wantedForm = /^[^/]+(\/[^/]+)?$/
/** What old dockers wrote for older ones. */
const unused = /(^|\/)(VERSION|json)$/

/** What an archive held, when it has been read through: blobs are in the store already. */
export interface Archive {
  /** Digest of each file by its name. */
  blobs: Map<string, Digest>
  json: Map<string, Buffer>
  /** Blobs that this load wrote, and so hashed; unpacked on the way where they look like layers. */
  written: Map<Digest, ArrivingLayer | undefined>
}

const collect = async (member: TarMember): Promise<Buffer> => {
  if (member.entry.size > maxJson)
    throw badRequest(
      `the archive's ${member.entry.name.toString()} is too large (${member.entry.size} bytes)`,
    )
  const chunks: Buffer[] = []
  for await (const chunk of member.body) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

const nameOf = (member: TarMember): string =>
  Buffer.from(member.entry.name).toString('utf8').replace(/^\.\//, '')

const blobForm = /^blobs\/sha256\/([a-f0-9]{64})$/
/** Files that may be layers: Docker's of any time, and podman's. Most are named by their digest. */
const layerForm = /^blobs\/sha256\/([a-f0-9]{64})$|([a-f0-9]{64})?\.tar$/

/** Unpacks it on the way, unless it is there by its name or is no layer. */
const followLayer = async (
  engine: Engine,
  { name, size, signal }: { name: string; size: number; signal: AbortSignal },
): Promise<ArrivingLayer | undefined> => {
  const form = layerForm.exec(name)
  const hex = form?.[1] ?? form?.[2]
  if (!form || (hex && (await engine.layers.find([`sha256:${hex}`])))) return undefined
  return engine.layers.follow({ size, signal })
}

/** Writes a file of the archive to the content store. */
const takeBlob = async (
  engine: Engine,
  archive: Archive,
  member: TarMember,
  { name, expected, signal }: { name: string; expected?: { digest: Digest }; signal: AbortSignal },
): Promise<void> => {
  const follower = await followLayer(engine, { name, size: member.entry.size, signal })
  try {
    const { digest } = await engine.content.write(member.body, {
      ...(expected ? { expected } : {}),
      ...(follower ? { follower } : {}),
    })
    archive.blobs.set(name, digest)
    archive.written.get(digest)?.[Symbol.dispose]()
    archive.written.set(digest, follower)
  } catch (error) {
    follower?.[Symbol.dispose]()
    throw error
  }
}

const takeFile = async (
  engine: Engine,
  archive: Archive,
  member: TarMember,
  signal: AbortSignal,
): Promise<void> => {
  const name = nameOf(member)
  const hex = blobForm.exec(name)?.[1]
  if (hex) {
    const digest: Digest = `sha256:${hex}`
    archive.blobs.set(name, digest)
    if (await engine.content.info(digest)) return
    await takeBlob(engine, archive, member, { name, expected: { digest }, signal })
    failpoint('load.blob')
    return
  }
  if (kept.includes(name)) {
    archive.json.set(name, await collect(member))
    return
  }
  if (wantedForm.test(name) && !unused.test(name)) {
    await takeBlob(engine, archive, member, { name, signal })
    failpoint('load.file')
  }
}

/** Archives let a layer be a link to another: a symbolic one goes from its folder, a hard one from the top. */
const linkTarget = (member: TarMember, name: string): string => {
  const target = Buffer.from(member.entry.linkName).toString('utf8')
  const folder = member.entry.type === 'symlink' ? path.posix.dirname(name) : '/'
  return path.posix.resolve('/', folder, target).slice(1)
}

/** Follows links to links; undefined where they lead nowhere. */
const linked = (archive: Archive, links: Map<string, string>, name: string): Digest | undefined => {
  let at: string | undefined = name
  for (let steps = 0; at !== undefined && steps <= links.size; steps++) {
    const digest = archive.blobs.get(at)
    if (digest) return digest
    at = links.get(at)
  }
  return undefined
}

/** Fills `archive`; what it holds is right even where this fails half-way. */
export const readArchive = async (
  engine: Engine,
  source: AsyncIterable<Uint8Array>,
  archive: Archive,
  signal: AbortSignal,
): Promise<void> => {
  const links = new Map<string, string>()
  const plain = await decompress(untilAborted(signal, source))
  for await (const member of readTar(plain.stream)) {
    if (member.entry.type === 'file') await takeFile(engine, archive, member, signal)
    else if (member.entry.type === 'symlink' || member.entry.type === 'link')
      links.set(nameOf(member), linkTarget(member, nameOf(member)))
  }
  for (const name of links.keys()) {
    const digest = linked(archive, links, name)
    if (digest) archive.blobs.set(name, digest)
  }
}
