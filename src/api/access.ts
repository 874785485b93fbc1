import type { IncomingMessage } from 'node:http'
import { forbidden } from '../core/errors.ts'
import type { Engine } from '../engine/engine.ts'
import type { AccessPolicy } from '../engine/settings.ts'
import { doorOf, type Peer, peerGroupsOf, peerOf, subjectOf } from './peer.ts'
import type { Route } from './route.ts'
import type { RequestWatcher } from './watch.ts'

/** Who may do what: the policies of `access-policies`, asked before a handler sees the request. */

/** Operations that give the content of containers and images away. */
const content = new Set([
  'ContainerArchive',
  'ContainerArchiveInfo',
  'ContainerExport',
  'ImageGet',
  'ImageGetAll',
])
/** What changes nothing though it is a POST, and what is a GET though it does more than look. */
const looksOnly = new Set(['ContainerWait'])
const doesMore = new Set(['ContainerAttachWebsocket'])

/** `ping` is everyone's: clients agree on a version by it. `read` looks at what there is, `content` takes it out. */
export type AccessClass = 'ping' | 'read' | 'content' | 'change'

export const accessClass = ({ operation, method }: Pick<Route, 'operation' | 'method'>): AccessClass => {
  if (operation.startsWith('SystemPing')) return 'ping'
  if (content.has(operation)) return 'content'
  const looks =
    looksOnly.has(operation) || ((method === 'GET' || method === 'HEAD') && !doesMore.has(operation))
  return looks ? 'read' : 'change'
}

const names = ({ who }: AccessPolicy, { socket }: IncomingMessage, peer: Peer): boolean => {
  if (!who || who.sockets.includes(doorOf(socket))) return true
  const subject = subjectOf(peer)
  if (subject !== undefined) return who.certificates.some(form => form.test(subject))
  if (peer.kind !== 'unix') return false
  if (who.users.includes(peer.uid)) return true
  return who.groups.length > 0 && peerGroupsOf(socket, peer).some(group => who.groups.includes(group))
}

const shown = (peer: Peer): string => {
  if (peer.kind === 'unix') return `the user with id ${peer.uid}`
  const subject = subjectOf(peer)
  return subject === undefined ? `clients at ${peer.address}` : `the certificate ${JSON.stringify(subject)}`
}

/** Throws 403 for what the first policy that names the client does not allow. */
export const accessWatcher = (engine: Engine): RequestWatcher => ({
  begun: ({ req, route }) => {
    const { accessPolicies } = engine.settings
    if (accessPolicies.length === 0) return
    const peer = peerOf(req.socket)
    const policy = accessPolicies.find(candidate => names(candidate, req, peer))
    if (!policy || policy.operations.has(route.operation)) return
    throw forbidden(
      `access denied: the policy ${JSON.stringify(policy.name)} does not let ${shown(peer)} do ${route.operation} (${route.method} ${route.path}); whoever administers this daemon can allow it in access-policies of its daemon.json`,
    )
  },
  ended: () => {},
})
