import { badRequest, notImplemented } from '../../core/errors.ts'
import { quote } from '../dockerfile/characters.ts'
import type { SourceOperation } from '../graph/types.ts'

/** Sources as graphs of clients have them: an address, and attributes by name (BuildKit's solver/pb, attr.go). */

type Attributes = Readonly<Record<string, string>>

/** What is asked of attributes: each is asked for once, and none may be left. */
class Asked {
  readonly #left: Map<string, string>

  constructor(attributes: Attributes) {
    this.#left = new Map(Object.entries(attributes))
  }

  text(name: string): string {
    const value = this.#left.get(name) ?? ''
    this.#left.delete(name)
    return value
  }

  truth(name: string): boolean {
    return this.text(name) === 'true'
  }

  /** Errors: `bad-request`. */
  number(name: string, base = 10): number | undefined {
    const text = this.text(name)
    if (text === '') return undefined
    const value = Number.parseInt(text, base)
    if (Number.isNaN(value) || value < 0) throw badRequest(`invalid ${name} ${quote(text)} of a source`)
    return value
  }

  /** JSON. Errors: `bad-request`. */
  list(name: string): string[] | undefined {
    const text = this.text(name)
    if (text === '') return undefined
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {}
    if (!Array.isArray(value) || !value.every(entry => typeof entry === 'string'))
      throw badRequest(`invalid ${name} ${quote(text)} of a source`)
    return value
  }

  /** Errors: `not-implemented` for what nobody has asked for. */
  end(): void {
    const [left] = this.#left.keys()
    if (left !== undefined) throw notImplemented(`the attribute ${left} of a source (LLB)`)
  }
}

type Source<K extends SourceOperation['kind']> = Extract<SourceOperation, { kind: K }>

const resolveModes: Record<string, Source<'image'>['resolve']> = {
  '': 'default',
  default: 'default',
  pull: 'pull',
  local: 'local',
}

const image = (reference: string, asked: Asked): Source<'image'> => {
  const mode = asked.text('image.resolvemode')
  const resolve = resolveModes[mode]
  if (!resolve) throw badRequest(`invalid image.resolvemode ${quote(mode)} of a source`)
  asked.text('image.recordtype')
  const layerLimit = asked.number('image.layerlimit')
  return { kind: 'image', reference, resolve, ...(layerLimit === undefined ? {} : { layerLimit }) }
}

const local = (name: string, asked: Asked, session: string): Source<'local'> => {
  const own = asked.text('local.session')
  if (own !== '' && own !== session) throw notImplemented('a folder of another session (local.session, LLB)')
  asked.text('local.unique')
  const [include, exclude] = [asked.list('local.includepattern'), asked.list('local.excludepatterns')]
  const follow = asked.list('local.followpaths')
  return {
    ...{ kind: 'local', name, sharedKey: asked.text('local.sharedkeyhint') },
    differ: asked.text('local.differ') === 'none' ? 'none' : 'metadata',
    ...(include ? { include } : {}),
    ...(exclude ? { exclude } : {}),
    ...(follow ? { follow } : {}),
  }
}

const hasTransport = (address: string): boolean => /^[a-z]+:\/\/|^[^/]+@[^/]+:/.test(address)

const git = (text: string, asked: Asked): Source<'git'> => {
  const [address = '', fragment = ''] = text.split(/#(.*)/s, 2)
  const [ref = '', subdirectory = ''] = fragment.split(/:(.*)/s, 2)
  const full = (asked.text('git.fullurl') || address).replace(/#.*$/s, '')
  const [authToken, authHeader] = [asked.text('git.authtokensecret'), asked.text('git.authheadersecret')]
  const [ssh, knownHosts] = [asked.text('git.mountsshsock'), asked.text('git.knownsshhosts')]
  const checksum = asked.text('git.checksum')
  if (asked.text('git.mtime') === 'commit') throw notImplemented('git.mtime=commit of a source (LLB)')
  return {
    ...{ kind: 'git', remote: hasTransport(full) ? full : `https://${full}`, ref, subdirectory },
    keepGitDirectory: asked.truth('git.keepgitdir'),
    submodules: !asked.truth('git.skipsubmodules'),
    ...(authToken ? { authToken } : {}),
    ...(authHeader ? { authHeader } : {}),
    ...(ssh ? { ssh } : {}),
    ...(knownHosts ? { knownHosts } : {}),
    ...(checksum ? { checksum } : {}),
  }
}

const octal = 8

const http = (url: string, asked: Asked): Source<'http'> => {
  const checksum = asked.text('http.checksum')
  const mode = asked.number('http.perm', octal)
  const [uid, gid] = [asked.number('http.uid'), asked.number('http.gid')]
  return {
    ...{ kind: 'http', url, filename: asked.text('http.filename') },
    ...(checksum ? { checksum } : {}),
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  }
}

const layout = (reference: string, asked: Asked, session: string): Source<'oci-layout'> => ({
  kind: 'oci-layout',
  session: asked.text('oci.session') || session,
  store: asked.text('oci.store'),
  reference,
})

const read = (identifier: string, asked: Asked, session: string): SourceOperation => {
  const [scheme = '', rest = ''] = identifier.split(/:\/\/(.*)/s, 2)
  switch (scheme) {
    case 'docker-image':
      return image(rest, asked)
    case 'oci-layout':
      return layout(rest, asked, session)
    case 'local':
      return local(rest, asked, session)
    case 'git':
      return git(rest, asked)
    case 'http':
    case 'https':
      return http(identifier, asked)
    default:
      throw notImplemented(`the source ${quote(identifier)} of a graph of the client’s (LLB)`)
  }
}

/** Errors: `bad-request` for values that cannot be, `not-implemented` for a kind or an attribute that is not built. */
export const sourceOperation = (
  identifier: string,
  attributes: Attributes,
  session: string,
): SourceOperation => {
  const asked = new Asked(attributes)
  const operation = read(identifier, asked, session)
  asked.end()
  return operation
}
