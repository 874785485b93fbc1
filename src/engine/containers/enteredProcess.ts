import type { SpecProcess } from '../../oci/runtimeSpec.ts'
import type { ProcessUser } from './users.ts'

/** What a further process of a container has of its own. */
export interface EnteredProcess {
  args: string[]
  env: string[]
  /** Empty for that of the first one. */
  directory: string
  /** Absent for that of the first one. */
  user?: ProcessUser | undefined
  terminal: boolean
  /** All that the host has, for one that is to be privileged; absent for those of the first one. */
  capabilities?: readonly string[] | undefined
}

/** The process of a container's specification, changed to another one that is to run beside it. */
export const enteredProcess = (
  { consoleSize: _size, ...base }: SpecProcess,
  { args, env, directory, user, terminal, capabilities }: EnteredProcess,
): SpecProcess => {
  const own = user ? { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids } : base.user
  const bounding = capabilities ? [...capabilities] : base.capabilities.bounding
  const effective = own.uid === 0 ? bounding : []
  return {
    ...base,
    terminal,
    args,
    env,
    cwd: directory || base.cwd,
    user: own,
    capabilities: { bounding, effective, permitted: effective, inheritable: [], ambient: [] },
  }
}
