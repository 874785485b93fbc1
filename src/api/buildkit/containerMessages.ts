import path from 'node:path'
import type { ExecMount, InputIndex } from '../../build/graph/types.ts'
import type { ProcessRequest } from '../../build/steps/exec/containerRequest.ts'
import { badRequest } from '../../core/errors.ts'
import { hostPlatform } from '../../engine/images/reach.ts'
import type { InitMessage, NewContainerRequest } from '../../wire/buildkit/gateway_pb.ts'
import { CacheSharingOpt, type Mount, MountType, NetMode, SecurityMode } from '../../wire/buildkit/ops_pb.ts'
import type { ContainerQuery } from './buildContainers.ts'
import { platformOf } from './workerMessages.ts'

/** What clients ask of containers. Pure. */

type Sharing = (ExecMount & { kind: 'cache' })['sharing']

// Clients may send numbers that are of neither.
const sharings: Partial<Record<number, Sharing>> = {
  [CacheSharingOpt.SHARED]: 'shared',
  [CacheSharingOpt.PRIVATE]: 'private',
  [CacheSharingOpt.LOCKED]: 'locked',
}

const networks: Partial<Record<number, ContainerQuery['network']>> = {
  [NetMode.UNSET]: 'default',
  [NetMode.HOST]: 'host',
  [NetMode.NONE]: 'none',
}

/** Errors: `bad-request`. */
const cacheOf = ({ cacheOpt, dest }: Mount): { kind: 'cache'; id: string; sharing: Sharing } => {
  if (!cacheOpt) throw badRequest('missing cache mount options')
  const sharing = sharings[cacheOpt.sharing]
  if (!sharing) throw badRequest(`invalid cache sharing option: ${cacheOpt.sharing}`)
  return { kind: 'cache', id: cacheOpt.id || dest, sharing }
}

const mountOf = (mount: Mount, input: InputIndex): ExecMount => {
  const common = { target: path.posix.resolve('/', mount.dest), readOnly: mount.readonly }
  const { secretOpt, sshOpt } = mount
  switch (mount.mountType) {
    case MountType.BIND:
      return { ...common, kind: 'bind', input, source: mount.selector, output: undefined }
    case MountType.CACHE:
      return { ...common, ...cacheOf(mount), input, source: mount.selector }
    case MountType.TMPFS:
      return { ...common, kind: 'tmpfs', ...(mount.tmpfsOpt ? { size: Number(mount.tmpfsOpt.size) } : {}) }
    case MountType.SECRET: {
      if (!secretOpt?.id) throw badRequest('secret ID missing from mount options')
      const { id, uid, gid, mode } = secretOpt
      return { ...common, kind: 'secret', id, uid, gid, mode, required: !secretOpt.optional }
    }
    case MountType.SSH: {
      if (!sshOpt) throw badRequest('missing ssh mount options')
      const { uid, gid, mode } = sshOpt
      return {
        ...common,
        kind: 'ssh',
        id: sshOpt.id || 'default',
        uid,
        gid,
        mode,
        required: !sshOpt.optional,
      }
    }
    default:
      throw badRequest(`mount type ${mount.mountType} not implemented`)
  }
}

/** Errors: `bad-request`. */
export const containerQuery = (request: NewContainerRequest): ContainerQuery => {
  const network = networks[request.network]
  if (!network) throw badRequest(`unknown network mode ${request.network}`)
  const refs = [...new Set(request.mounts.flatMap(({ resultId }) => (resultId === '' ? [] : [resultId])))]
  return {
    id: request.containerId,
    platform: platformOf(request.platform) ?? hostPlatform,
    mounts: request.mounts.map(mount =>
      mountOf(mount, mount.resultId === '' ? undefined : refs.indexOf(mount.resultId)),
    ),
    refs,
    network,
    hostname: request.hostname,
    extraHosts: request.extraHosts.map(({ host, ip }) => ({ host, address: ip })),
  }
}

/** Errors: `bad-request`. */
export const processRequest = ({ meta, fds, tty, security, secretenv }: InitMessage): ProcessRequest => {
  if (!meta || meta.args.length === 0) throw badRequest('a process of a container needs a program to run')
  for (const { id, name } of secretenv)
    if (id === '') throw badRequest(`secret ID missing for "${name}" environment variable`)
  return {
    ...{ args: meta.args, env: meta.env, user: meta.user, directory: meta.cwd },
    security: security === SecurityMode.INSECURE ? 'insecure' : 'sandbox',
    secretEnv: secretenv.map(({ id, name, optional }) => ({ id, name, required: !optional })),
    streams: {
      terminal: tty,
      stdin: fds.includes(0),
      stdout: fds.includes(1),
      stderr: fds.includes(2),
    },
  }
}
