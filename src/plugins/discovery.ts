import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { hasCode, internal, messageOf } from '../core/errors.ts'
import type { PluginAddress, PluginFolders, PluginTls } from './types.ts'

/** Finds plugins by the files that stand for them. */

const places = (folder: string, name: string, ending: string): string[] => [
  path.join(folder, `${name}${ending}`),
  path.join(folder, name, `${name}${ending}`),
]

const isThere = (file: string, isWanted: 'isSocket' | 'isFile'): boolean => {
  try {
    return statSync(file)[isWanted]()
  } catch {
    return false
  }
}

const schemes = ['unix:', 'tcp:', 'http:', 'https:']

const checkUrl = (file: string, url: string): string => {
  if (!URL.canParse(url) || !schemes.includes(new URL(url).protocol))
    throw internal(
      `${file}: ${JSON.stringify(url)} is no address of a plugin: give unix://PATH, tcp://HOST:PORT or https://HOST:PORT`,
    )
  return url
}

const readSpec = (file: string): PluginAddress => ({ url: checkUrl(file, readFileSync(file, 'utf8').trim()) })

/** Without an authority of its own nothing is verified, as with Docker. */
const readJson = (file: string): PluginAddress => {
  let content: { Addr?: unknown; TLSConfig?: PluginTls | null }
  try {
    content = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw internal(`${file} cannot be read as JSON: ${messageOf(error)}`, error)
  }
  const url = checkUrl(file, String(content?.Addr ?? ''))
  const tls = content.TLSConfig
  return tls ? { url, tls: { ...tls, InsecureSkipVerify: tls.InsecureSkipVerify || !tls.CAFile } } : { url }
}

/** A name is part of a path. */
const isName = (name: string): boolean => /^[^/\0]+$/.test(name) && name !== '.' && name !== '..'

/** Undefined where no file stands for it. Errors: `internal` for one that cannot be read. */
export const findPlugin = (folders: PluginFolders, name: string): PluginAddress | undefined => {
  if (!isName(name)) return undefined
  for (const file of places(folders.sockets, name, '.sock'))
    if (isThere(file, 'isSocket')) return { url: `unix://${file}` }
  for (const folder of folders.specs) {
    for (const file of places(folder, name, '.spec')) if (isThere(file, 'isFile')) return readSpec(file)
    for (const file of places(folder, name, '.json')) if (isThere(file, 'isFile')) return readJson(file)
  }
  return undefined
}

const entries = (folder: string): string[] => {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].some(code => hasCode(error, code))) return []
    throw error
  }
}

const withoutEnding = (entry: string): string => entry.replace(/\.(sock|spec|json)$/, '')

/** Whether something stands for it that can be read. */
export const isFound = (folders: PluginFolders, name: string): boolean => {
  try {
    return findPlugin(folders, name) !== undefined
  } catch {
    // A file that cannot be read is told of when the plugin is asked for.
    return false
  }
}

/** The names of all plugins that something stands for, sorted. */
export const pluginNames = (folders: PluginFolders): string[] => {
  const names = [folders.sockets, ...folders.specs].flatMap(folder => entries(folder).map(withoutEnding))
  return [...new Set(names)].filter(name => isFound(folders, name)).sort()
}
