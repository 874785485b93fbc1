import path from 'node:path'
import { badRequest } from '../../../core/errors.ts'
import type { Platform } from '../../../oci/platform.ts'
import type { Entitlement } from '../../entitlements.ts'
import type { ExecMount, ExecOperation } from '../../graph/types.ts'
import type { Tree } from '../../solver/types.ts'
import type { ProcessStreams } from './launch.ts'

/** What who leads a build asks of a container in it. Pure. */

export interface ContainerRequest {
  /** The client's name for it. */
  id: string
  platform: Platform
  /** In the client's order, by which it asks for their files; the one at `/` is the root. */
  mounts: readonly ExecMount[]
  /** That the mounts are of. */
  inputs: readonly Tree[]
  network: ExecOperation['network']
  hostname: string
  extraHosts: ExecOperation['extraHosts']
  granted: ReadonlySet<Entitlement>
}

export interface ProcessRequest
  extends Pick<ExecOperation, 'args' | 'env' | 'user' | 'security' | 'secretEnv'> {
  /** Empty for the root, or of a further process for that of the first one. */
  directory: string
  streams: ProcessStreams & { stdout: boolean; stderr: boolean }
}

/** The root is one that can be written to, whatever the process may: places for the other mounts are made in it. */
const rootOf = ({ id, mounts }: ContainerRequest): ExecMount => {
  const root = mounts.find(({ target }) => target === '/')
  if (!root) throw badRequest(`container ${id} has no root: one of its mounts has to be at /`)
  if (root.kind !== 'bind') throw badRequest(`invalid mount type ${root.kind.toUpperCase()} for /`)
  return { ...root, readOnly: false }
}

const compareTargets = (a: ExecMount, b: ExecMount): number => (a.target < b.target ? -1 : 1)

/** A step that runs nothing yet. Errors: `bad-request`. */
export const operationOf = (request: ContainerRequest): ExecOperation => ({
  kind: 'exec',
  ...{ args: [], env: [], directory: '/', user: '', security: 'sandbox' },
  network: request.network,
  ...(request.hostname ? { hostname: request.hostname } : {}),
  // What others lie in is mounted first.
  mounts: [
    rootOf(request),
    ...request.mounts.filter(({ target }) => target !== '/').toSorted(compareTargets),
  ],
  extraHosts: request.extraHosts,
  ...{ secretEnv: [], devices: [], ulimits: [], proxy: {}, files: [] },
})

const has = (env: readonly string[], name: string): boolean => env.some(entry => entry.startsWith(`${name}=`))

/** The step with a process. */
export const withProcess = (operation: ExecOperation, process: ProcessRequest): ExecOperation => {
  const { args, env, user, security, secretEnv, directory, streams } = process
  return {
    ...operation,
    ...{ args, user, security, secretEnv },
    directory: path.posix.join('/', directory),
    env: [...env, ...(streams.terminal && !has(env, 'TERM') ? ['TERM=xterm'] : [])],
  }
}
