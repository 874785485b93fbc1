import { formatPlatform } from '../../../oci/platform.ts'
import type {
  ExecMount,
  FileAction,
  Graph,
  InputIndex,
  Operation,
  SourceOperation,
  Vertex,
} from '../../graph/types.ts'
import { digest } from './fixture.ts'

/** A graph as short text, for tests: a line for each vertex, by numbers in their order. */

const flags = (values: Record<string, unknown>): string =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== false && value !== '')
    .filter(([, value]) => !Array.isArray(value) || value.length > 0)
    .map(([key, value]) =>
      value === true ? ` ${key}` : ` ${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`,
    )
    .join('')

const sourceText = (source: SourceOperation): string => {
  const { kind, ...fields } = source
  if (source.kind === 'image')
    return `image ${source.reference.replace(`@${digest}`, '')}${flags({ resolve: source.resolve === 'default' ? '' : source.resolve })}`
  if (source.kind === 'local') {
    const { name, follow, exclude } = source
    return `local ${name}${flags({ follow, exclude })}`
  }
  if (source.kind === 'git') {
    const { authToken: _, authHeader: __, kind: ___, remote, ...rest } = source
    return `git ${remote}${flags(rest)}`
  }
  return `${kind}${flags(fields)}`
}

type Name = (index: InputIndex) => string

const mountText = (mount: ExecMount, name: Name): string => {
  const { kind, target, readOnly, ...rest } = mount
  const { input, source, output, ...more } = rest as Record<string, unknown>
  const from = 'input' in rest ? ` ${name(input as InputIndex)}:${source}` : ''
  return `${kind} ${target}${from}${readOnly ? ' ro' : ''}${flags(more)}${flags({ output })}`
}

const actionText = (action: FileAction, name: Name): string => {
  const owner =
    action.kind !== 'remove' && action.owner
      ? ` owner=${action.owner.user ?? ''}:${action.owner.group ?? ''}`
      : ''
  if (action.kind === 'copy') {
    const {
      from,
      source,
      destination,
      mode,
      unpack,
      include,
      exclude,
      keepParents,
      followLinks,
      contentsOnly,
      wildcards,
      allowEmpty,
      createDestination,
      replace,
    } = action
    const isPath = followLinks && contentsOnly && wildcards
    const kind = isPath ? { strict: !allowEmpty } : { plain: !contentsOnly, contents: contentsOnly }
    const shape = { ...kind, existing: !createDestination, replace }
    return `copy ${name(from)}:${source} ${destination}${owner}${flags({ mode, unpack, include, exclude, keepParents, ...shape })}`
  }
  if (action.kind === 'makeDirectory') return `mkdir ${action.path}${owner}`
  if (action.kind === 'makeFile') return `write ${action.path} ${JSON.stringify(action.content)}`
  return `remove ${action.path}`
}

const operationText = (operation: Operation, name: Name): string => {
  if (operation.kind === 'merge') return 'merge'
  if (operation.kind === 'file')
    return `file ${name(operation.base)}: ${operation.actions.map(action => actionText(action, name)).join('; ')}`
  if (operation.kind !== 'exec') return sourceText(operation)
  const { args, env, directory, user, network, security, mounts, ...rest } = operation
  const { kind: _, ...others } = rest
  const [root, ...more] = mounts
  const base = root && 'input' in root ? name(root.input) : '?'
  const variables = env.filter(entry => !entry.startsWith('PATH='))
  const state = flags({
    env: variables,
    in: directory === '/' ? '' : directory,
    user,
    network: network === 'default' ? '' : network,
    security: security === 'sandbox' ? '' : security,
    ...others,
    proxy: Object.keys(others.proxy),
  })
  return `exec ${base}: ${args.join(' ')}${state}${more.map(mount => `; ${mountText(mount, name)}`).join('')}`
}

const vertexText = (vertex: Vertex, numbers: Map<string, number>): string => {
  const { operation, inputs, platform, step } = vertex
  const name: Name = index => (index === undefined ? '-' : String(numbers.get(inputs[index]?.vertex ?? '')))
  const merged = operation.kind === 'merge' ? ` ${inputs.map((_, index) => name(index)).join(' ')}` : ''
  const where = platform.architecture === 'amd64' ? '' : ` (${formatPlatform(platform)})`
  return `${operationText(operation, name)}${merged}${where}${step.ignoreCache ? ' anew' : ''}`
}

export const graphText = (graph: Graph): string[] => {
  const numbers = new Map([...graph.vertices.keys()].map((key, index) => [key as string, index]))
  return [...graph.vertices.values()].map(
    vertex => `${numbers.get(vertex.digest)} ${vertexText(vertex, numbers)}`,
  )
}

export const stepNames = (graph: Graph): string[] =>
  [...graph.vertices.values()].map(({ step }) => step.name.replace(`@${digest}`, ''))
