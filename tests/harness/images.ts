import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { type OutgoingMember, tarEntry, writeTar } from '../../src/archive/writer.ts'
import { digestOf } from '../../src/oci/digest.ts'

/** Images for tests, made from what Debian's packages put on the machine; kept in `.cache/images`. */
export const projectRoot = fileURLToPath(new URL('../..', import.meta.url))
const cache = path.join(projectRoot, '.cache/images')

export interface ImageSpec {
  tags: string[]
  /** Layers, bottom first. */
  layers: OutgoingMember[][]
  config?: object
}

const bytesOf = async (members: Iterable<OutgoingMember>): Promise<Buffer> => {
  const chunks: Uint8Array[] = []
  for await (const chunk of writeTar(members)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export const file = (name: string, content: string | Buffer, mode = 0o644): OutgoingMember => {
  const body = Buffer.from(content as string)
  return { entry: tarEntry({ type: 'file', name, mode, size: body.length }), body: [body] }
}

export const directory = (name: string, mode = 0o755): OutgoingMember => ({
  entry: tarEntry({ type: 'directory', name, mode }),
})

export const link = (name: string, linkName: string): OutgoingMember => ({
  entry: tarEntry({ type: 'link', name, linkName, mode: 0o755 }),
})

/** The members of a `docker save` archive, as moby wrote it before OCI layouts. */
export const dockerArchive = async (images: ImageSpec[]): Promise<Buffer> => {
  const members = new Map<string, OutgoingMember>()
  const manifest: object[] = []
  for (const image of images) {
    const layers = await Promise.all(image.layers.map(bytesOf))
    const diffIds = layers.map(digestOf)
    const config = JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created: '2026-01-02T03:04:05Z',
      config: {
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        Cmd: ['sh'],
        ...image.config,
      },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: diffIds.map((_, index) => ({ created: '2026-01-02T03:04:05Z', created_by: `layer ${index}` })),
    })
    const configName = `${digestOf(config).slice(7)}.json`
    members.set(configName, file(configName, config))
    const names = layers.map((bytes, index) => {
      const name = `${diffIds[index]?.slice(7)}.tar`
      members.set(name, file(name, bytes))
      return name
    })
    manifest.push({ Config: configName, RepoTags: image.tags, Layers: names })
  }
  return bytesOf([...members.values(), file('manifest.json', JSON.stringify(manifest))])
}

export const busyboxLayer = (): OutgoingMember[] => {
  const binary = '/bin/busybox'
  if (!existsSync(binary)) throw new Error('the tests need busybox-static: run ./test, which installs it')
  const applets =
    'sh ash cat echo ls sleep true false id env touch mkdir rm mv cp ln ps kill wget nc httpd hostname mount umount dd yes seq head tail grep sed awk stat find test tr wc sort ip ifconfig ping nslookup stty tty date od md5sum sha256sum chmod chown df du free top uname whoami nproc setsid trap printf expr timeout xargs basename dirname mknod tar cut tee readlink'
  return [
    ...['bin', 'etc', 'root', 'tmp', 'var', 'dev', 'proc', 'sys', 'home'].map(name =>
      directory(name, name === 'tmp' ? 0o1777 : 0o755),
    ),
    file('bin/busybox', readFileSync(binary), 0o755),
    ...applets.split(' ').map(name => link(`bin/${name}`, 'bin/busybox')),
    file(
      'etc/passwd',
      'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\nuser:x:1000:1000:a user:/home:/bin/sh\n',
    ),
    file('etc/group', 'root:x:0:\nnobody:x:65534:\nuser:x:1000:\naudio:x:29:user\n'),
  ]
}

/** Path of an archive of `busybox:latest`; made once. */
export const busyboxArchive = async (): Promise<string> => {
  const target = path.join(cache, 'busybox-2.tar')
  if (existsSync(target)) return target
  mkdirSync(cache, { recursive: true })
  const temporary = `${target}.${process.pid}`
  const archive = await dockerArchive([{ tags: ['busybox:latest'], layers: [busyboxLayer()] }])
  await pipeline(Readable.from([archive]), createWriteStream(temporary))
  renameSync(temporary, target)
  return target
}
