import { badRequest } from '../core/errors.ts'

/** Runtimes of `--add-runtime` and of daemon.json's `runtimes`. */
export interface AddedRuntime {
  path: string
  args: string[]
}

interface Given {
  path?: string
  runtimeArgs?: string[]
  runtimeType?: string
  options?: Record<string, unknown>
}

/** The only shim of containerd that is nothing but an OCI runtime, which runs here without it. */
const runcShim = 'io.containerd.runc.v2'
const reserved = ['runc', 'crun', runcShim]

/** Errors: `bad-request` that names the runtime. */
const ofType = (refuse: (why: string) => Error, { runtimeType: type, runtimeArgs, options = {} }: Given) => {
  if (runtimeArgs?.length) throw refuse('args cannot be used with a runtimeType runtime')
  if (type !== runcShim)
    throw refuse(
      `the runtimeType ${type} is a shim of containerd, which has no part here; give the path of its OCI runtime`,
    )
  const other = Object.keys(options).find(name => name !== 'BinaryName')
  if (other !== undefined) throw refuse(`the option ${other} is not supported, only BinaryName is`)
  const { BinaryName: name = 'runc' } = options
  if (typeof name !== 'string' || name === '') throw refuse('the option BinaryName must be a path or a name')
  return { path: name, args: [] }
}

const runtimeOf = (name: string, given: Given): AddedRuntime => {
  const refuse = (why: string): Error => badRequest(`runtime ${name}: ${why}`)
  const { path = '', runtimeType: type = '', runtimeArgs: args = [], options = {} } = given
  if (path === '' && type === '') throw refuse('either a runtimeType or a path must be configured')
  if (path === '') return ofType(refuse, given)
  if (type !== '') throw refuse('cannot configure both path and runtimeType for the same runtime')
  if (Object.keys(options).length > 0) throw refuse('options cannot be used with a path runtime')
  return { path, args }
}

/** Errors: `bad-request` in dockerd's words. */
export const addedRuntimesOf = (value: unknown): Map<string, AddedRuntime> => {
  const added = new Map<string, AddedRuntime>()
  for (const [name, entry] of Object.entries((value ?? {}) as Record<string, string | Given>)) {
    if (reserved.includes(name)) throw badRequest(`runtime name '${name}' is reserved`)
    added.set(name, runtimeOf(name, typeof entry === 'string' ? { path: entry } : entry))
  }
  return added
}
