import { lookup as resolveName } from 'node:dns/promises'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { badRequest, hasCode, messageOf } from '../core/errors.ts'
import { decideHosts, isInsecure, ownHost } from './hosts.ts'
import { type HostEntry, parseHostsFile } from './hostsFile.ts'
import type { HostTls, RegistryHost, RegistrySettings } from './types.ts'

/** Reads what folders say of registries: `hosts.toml`, and Docker's `*.crt`, `*.cert` and `*.key`. */

const plainTls: HostTls = { authorities: [], skipVerify: false }

/** The names of a folder; undefined where there is none. */
const namesIn = async (folder: string): Promise<string[] | undefined> => {
  try {
    return (await readdir(folder)).sort()
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined
    throw badRequest(`cannot read the certificates in ${folder}: ${messageOf(error)}`, error)
  }
}

const readText = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw badRequest(`cannot read ${file}, which the settings of a registry name: ${messageOf(error)}`, error)
  }
}

/** `host_5000_` is the name that containerd gives a folder of `host:5000`. */
const folderNames = (registry: string): string[] =>
  /:\d+$/.test(registry) ? [registry.replace(/:(\d+)$/, '_$1_'), registry] : [registry]

interface Folder {
  path: string
  names: string[]
}

/** The first of the folders that has one of the names. */
const findFolder = async (folders: readonly string[], names: string[]): Promise<Folder | undefined> => {
  for (const folder of folders)
    for (const name of names) {
      const found = path.join(folder, name)
      const inside = await namesIn(found)
      if (inside) return { path: found, names: inside }
    }
  return undefined
}

/** Docker's rules: every `.cert` has its `.key` and the other way round. */
const readPairs = async (folder: Folder): Promise<HostTls> => {
  const authorities: string[] = []
  let client: HostTls['client']
  for (const name of folder.names) {
    const stem = name.slice(0, name.lastIndexOf('.'))
    const read = (other: string): Promise<string> => readText(path.join(folder.path, other))
    if (name.endsWith('.crt')) authorities.push(await read(name))
    if (name.endsWith('.cert')) {
      if (!folder.names.includes(`${stem}.key`))
        throw badRequest(
          `missing key ${stem}.key for client certificate ${name}. CA certificates must use the extension .crt`,
        )
      client ??= { certificate: await read(name), key: await read(`${stem}.key`) }
    }
    if (name.endsWith('.key') && !folder.names.includes(`${stem}.cert`))
      throw badRequest(`missing client certificate ${stem}.cert for key ${name}`)
  }
  return { authorities, skipVerify: false, ...(client ? { client } : {}) }
}

const readEntry = async (entry: HostEntry): Promise<{ entry: HostEntry; tls: HostTls }> => ({
  entry,
  tls: {
    authorities: await Promise.all(entry.authorities.map(readText)),
    skipVerify: entry.skipVerify,
    ...(entry.client
      ? {
          client: {
            certificate: await readText(entry.client.certificate),
            key: await readText(entry.client.key),
          },
        }
      : {}),
  },
})

const readEntries = async (
  folder: Folder | undefined,
): Promise<{ entry: HostEntry; tls: HostTls }[] | undefined> => {
  if (!folder?.names.includes('hosts.toml')) return undefined
  const text = await readText(path.join(folder.path, 'hosts.toml'))
  if (text.trim() === '') return undefined
  const { parse } = await import('smol-toml')
  return Promise.all(parseHostsFile(text, folder.path, parse).map(readEntry))
}

const addressesOf = async (name: string): Promise<string[]> => {
  try {
    return (await resolveName(name, { all: true })).map(found => found.address)
  } catch {
    // A name that has no address here may have one at the proxy; no network of addresses holds it.
    return []
  }
}

/** The hosts of a registry, read anew each time: who puts a certificate into its folder need not restart anything. */
export const hostsOf = async (
  registry: string,
  settings: RegistrySettings,
  lookup: (name: string) => Promise<string[]> = addressesOf,
): Promise<RegistryHost[]> => {
  const folders = settings.certificateFolders
  const mirrors = registry === 'docker.io' ? settings.mirrors.filter(mirror => URL.canParse(mirror)) : []
  const addresses = [ownHost(registry), ...mirrors.map(mirror => new URL(mirror).host)]
  const insecure = new Set<string>()
  const tls = new Map<string, HostTls>()
  for (const address of addresses) {
    if (await isInsecure(address, settings.insecure, lookup)) insecure.add(address)
    const folder = await findFolder(folders, folderNames(address === ownHost(registry) ? registry : address))
    if (folder) tls.set(address, await readPairs(folder))
  }
  const own = await findFolder(folders, [...folderNames(registry), '_default'])
  const entries = await readEntries(own)
  const fallback = own && !tls.has(ownHost(registry)) && !entries ? await readPairs(own) : plainTls
  const folderOf = (name: string, found: Folder | undefined): string =>
    found?.path ?? path.join(folders[0] ?? '/etc/docker/certs.d', name)
  const places = new Map<string, string>()
  for (const mirror of mirrors) {
    const { host } = new URL(mirror)
    places.set(mirror, folderOf(host, await findFolder(folders, folderNames(host))))
  }
  const place = folderOf(registry, own)
  const hosts = decideHosts(
    {
      registry,
      entries,
      tls: address => tls.get(address === registry ? ownHost(registry) : address) ?? fallback,
      insecure: address => insecure.has(address),
    },
    settings,
  )
  return hosts.map(host => ({ ...host, certificates: places.get(host.base) ?? place }))
}
