import { formatPlatform } from '../../oci/platform.ts'
import { canonical } from '../graph/digest.ts'
import type { ExecMount, ExecOperation, Operation, Vertex } from '../graph/types.ts'
import { operationKey } from './keys.ts'
import type { InputParts, KeyParts } from './types.ts'

/** What a key was made of, told apart so that a later build can be compared with it. */

const mountText = (mount: ExecMount): string => {
  const { target: _, ...rest } = mount
  return canonical(
    rest.kind === 'cache' ? { ...rest, id: undefined, sharing: undefined, input: undefined } : rest,
  )
}

const variables = (env: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    env.map(variable => {
      const equals = variable.indexOf('=')
      return [`variable ${variable.slice(0, equals)}`, variable.slice(equals + 1)]
    }),
  )

const execSettings = (operation: ExecOperation): Record<string, string> => {
  const { kind: _, args, env, mounts, proxy: __, extraHosts, ...fields } = operation
  return {
    ...fieldSettings(fields),
    command: args.join(' '),
    hosts: extraHosts.map(({ host }) => host).join(' '),
    ...variables(env),
    ...Object.fromEntries(mounts.map(mount => [`mount ${mount.target}`, mountText(mount)])),
  }
}

const fieldSettings = (fields: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, typeof value === 'string' ? value : canonical(value)]),
  )

const settingsOf = (operation: Operation): Record<string, string> => {
  if (operation.kind === 'exec') return execSettings(operation)
  // The instruction says what they are.
  if (operation.kind === 'file' || operation.kind === 'merge') return {}
  const { kind: _, ...fields } = operation
  return fieldSettings(fields)
}

export const partsOf = (vertex: Vertex, inputs: InputParts[]): KeyParts => ({
  described: vertex.step.described ?? vertex.step.name,
  name: vertex.step.name,
  operation: operationKey(vertex),
  settings: {
    ...settingsOf(vertex.operation),
    ...(vertex.operation.kind === 'exec' ? { platform: formatPlatform(vertex.platform) } : {}),
  },
  inputs,
})
