import { badRequest } from '../../core/errors.ts'
import { Gate } from '../../core/queue.ts'
import { Filters } from '../../wire/filters.ts'
import type { ApiVersion } from '../../wire/version.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { commandOf, mountList, portList, portMap, statusText } from './describe.ts'
import { manifestOf } from './inspect.ts'
import { allNames } from './links.ts'
import { networkSettings } from './networkSettings.ts'
import { settleExit } from './state.ts'

const known = [
  'ancestor',
  'before',
  'expose',
  'exited',
  'health',
  'id',
  'is-task',
  'isolation',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
]
const statuses = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead']
const healths = ['none', 'starting', 'healthy', 'unhealthy']

/** `GET /containers/json` */
export interface ListOptions {
  all: boolean
  /** The newest so many, running or not; negative for no limit. */
  limit: number
  size: boolean
  filters: string | undefined
  version: ApiVersion
}

const checkValues = (filters: Filters): void => {
  for (const status of filters.get('status'))
    if (!statuses.includes(status))
      throw badRequest(
        `invalid filter 'status=${status}': invalid value for state (${status}): must be one of ${statuses.join(', ')}`,
      )
  for (const health of filters.get('health'))
    if (!healths.includes(health))
      throw badRequest(
        `invalid filter 'health=${health}': invalid value for health (${health}): must be one of ${healths.join(', ')}`,
      )
  for (const code of filters.get('exited'))
    if (!/^-?\d+$/.test(code)) throw badRequest(`invalid filter 'exited=${code}': "${code}" is not a number`)
}

const checkPorts = (filters: Filters): void => {
  for (const key of ['expose', 'publish'])
    for (const wanted of filters.get(key)) {
      if (wanted.includes(':')) throw badRequest(`filter for '${key}' should not contain ':': ${wanted}`)
      if (!portForm.test(wanted))
        throw badRequest(`error while looking up for ${key} ${wanted}: invalid port range: ${wanted}`)
    }
}

/** `80`, `80/tcp`, `8000-8010/udp` against a port. */
const portForm = /^(\d+)(?:-(\d+))?(?:\/(\w+))?$/

const portMatches = (wanted: string, port: number, protocol: string): boolean => {
  const match = portForm.exec(wanted)
  if (!match) return false
  const first = Number(match[1])
  const last = Number(match[2] ?? match[1])
  return port >= first && port <= last && (match[3] ?? 'tcp') === protocol
}

const hasExposed = (container: Container, wanted: string): boolean =>
  Object.keys({ ...container.record.config.ExposedPorts, ...portMap(container.record) }).some(spec => {
    const [port, protocol = 'tcp'] = spec.split('/')
    return portMatches(wanted, Number(port), protocol)
  })

const hasPublished = (container: Container, wanted: string): boolean =>
  container.record.networks.some(
    ({ endpoint }) =>
      endpoint?.published.some(port => portMatches(wanted, port.hostPort, port.protocol)) ?? false,
  )

/** The image itself, or one that it was built upon. */
const ancestors = (engine: Engine, wanted: string): ((container: Container) => boolean) => {
  try {
    const { id, config } = engine.images.get(wanted)
    const base = config.rootfs.diff_ids
    return container => {
      const image = engine.images.byId(container.record.imageId)
      return (
        engine.images.means(wanted, container.record.imageId) ||
        (image !== undefined &&
          image.id !== id &&
          base.length > 0 &&
          isBase(base, container.record.diffIds) &&
          image.parent === id)
      )
    }
  } catch {
    return () => false
  }
}

const isBase = (base: readonly string[], whole: readonly string[]): boolean =>
  base.every((layer, index) => whole[index] === layer)

/** By the name itself or an expression; what is no expression matches nothing else, as in Docker. */
const nameTest = (pattern: string): ((names: string[]) => boolean) => {
  const form = expression(pattern)
  return names => names.some(name => [name, name.slice(1)].some(each => each === pattern || form?.test(each)))
}

const expression = (pattern: string): RegExp | undefined => {
  try {
    return new RegExp(pattern)
  } catch {
    return undefined
  }
}

type Test = (container: Container) => boolean

/** A test for a key that was given; none for one that was not, which would cost as much. */
const some = (
  filters: Filters,
  key: string,
  test: (container: Container, wanted: string) => boolean,
): Test[] => (filters.has(key) ? [container => filters.some(key, wanted => test(container, wanted))] : [])

/** Of what does not change by itself. */
const lastingTests = (engine: Engine, filters: Filters): Test[] => {
  const ancestorTests = filters.get('ancestor').map(wanted => ancestors(engine, wanted))
  const nameTests = filters.get('name').map(nameTest)
  const before = filters.get('before').map(wanted => engine.containers.get(wanted).created)
  const since = filters.get('since').map(wanted => engine.containers.get(wanted).created)
  return [
    ({ removing }) => !removing,
    ...(nameTests.length > 0
      ? [(container: Container) => nameTests.some(test => test(allNames(engine, container)))]
      : []),
    ...(filters.has('label')
      ? [({ record }: Container) => filters.labels('label', record.config.Labels)]
      : []),
    ...some(filters, 'network', (container, wanted) =>
      container.record.networks.some(
        ({ networkName, networkId }) => networkName === wanted || networkId.startsWith(wanted),
      ),
    ),
    ...some(filters, 'volume', (container, wanted) =>
      container.record.mounts.some(mount => [mount.name, mount.destination, mount.source].includes(wanted)),
    ),
    ...(filters.flag('is-task') === true ? [() => false] : []),
    ...(ancestorTests.length > 0
      ? [(container: Container) => ancestorTests.some(test => test(container))]
      : []),
    ...before.map(
      (time): Test =>
        ({ created }) =>
          created < time,
    ),
    ...since.map(
      (time): Test =>
        ({ created }) =>
          created > time,
    ),
  ]
}

/** Of what the end of a run changes. */
const stateTests = (filters: Filters, everything: boolean): Test[] => {
  const hasPorts = filters.has('expose') || filters.has('publish')
  const exposed: Test = container => filters.get('expose').some(wanted => hasExposed(container, wanted))
  const published: Test = container => filters.get('publish').some(wanted => hasPublished(container, wanted))
  return [
    container => everything || container.isRunning || container.record.state.status === 'restarting',
    ...some(filters, 'status', (container, wanted) => container.record.state.status === wanted),
    ...some(
      filters,
      'exited',
      (container, wanted) =>
        container.record.state.status === 'exited' && container.record.state.exitCode === Number(wanted),
    ),
    ...some(
      filters,
      'health',
      (container, wanted) => (container.record.state.health?.Status ?? 'none') === wanted,
    ),
    ...(hasPorts ? [(container: Container) => exposed(container) || published(container)] : []),
  ]
}

/** Newest first. An id means those of which it is the only one's beginning, as in Docker. */
const candidates = (engine: Engine, filters: Filters): Container[] => {
  if (!filters.has('id')) return engine.containers.all().reverse()
  const found = new Set(filters.get('id').flatMap(id => engine.containers.byPrefix(id) ?? []))
  return [...found].sort((a, b) => (a.created < b.created ? 1 : -1))
}

/** Containers that pass the filters, newest first. Only of those that may be wanted it is looked whether they have ended. */
export const selectContainers = async (
  engine: Engine,
  options: Pick<ListOptions, 'all' | 'limit' | 'filters'>,
): Promise<Container[]> => {
  const filters = Filters.parse(options.filters, known)
  checkValues(filters)
  checkPorts(filters)
  const lasting = lastingTests(engine, filters)
  const ofState = stateTests(filters, options.all || options.limit > 0 || filters.has('status'))
  const most = options.limit > 0 ? options.limit : Number.POSITIVE_INFINITY
  const found: Container[] = []
  for (const container of candidates(engine, filters)) {
    if (found.length >= most) break
    if (!lasting.every(test => test(container))) continue
    if (container.isRunning) await settleExit(engine, container)
    if (ofState.every(test => test(container))) found.push(container)
  }
  return found
}

/** The name that the container was made with, or the image's id once that name means another. */
const imageName = (engine: Engine, container: Container): string => {
  const given = container.record.config.Image ?? ''
  try {
    return engine.images.means(given, container.record.imageId) ? given : container.record.imageId
  } catch {
    return container.record.imageId
  }
}

const laterFields = (engine: Engine, { record }: Container, version: ApiVersion): object => {
  const health = record.state.health
  return {
    ...(version.atLeast('1.48') ? { ImageManifestDescriptor: manifestOf(engine, record) } : {}),
    ...(version.atLeast('1.52')
      ? { Health: { Status: health?.Status ?? 'none', FailingStreak: health?.FailingStreak ?? 0 } }
      : {}),
  }
}

const summary = async (engine: Engine, container: Container, options: ListOptions): Promise<object> => {
  const { record } = container
  const usage = options.size ? await engine.uppers.usage(record.id) : undefined
  const layers = options.size ? ((await engine.layers.find(record.diffIds)) ?? []) : []
  const { Networks } = networkSettings(engine, record, options.version) as { Networks: object }
  return {
    Id: record.id,
    Names: allNames(engine, container),
    Image: imageName(engine, container),
    ImageID: record.imageId,
    Command: commandOf(record)
      .map((word, index) => (index > 0 && word.includes(' ') ? `'${word}'` : word))
      .join(' '),
    Created: Number(container.created / 1_000_000_000n),
    Ports: portList(record),
    ...(usage
      ? { SizeRw: usage.size, SizeRootFs: usage.size + layers.reduce((sum, layer) => sum + layer.size, 0) }
      : {}),
    Labels: record.config.Labels ?? {},
    State: record.state.status,
    Status: statusText(container),
    HostConfig: {
      NetworkMode: record.hostConfig.NetworkMode,
      ...(record.hostConfig.Annotations && options.version.atLeast('1.46')
        ? { Annotations: record.hostConfig.Annotations }
        : {}),
    },
    NetworkSettings: { Networks },
    Mounts: mountList(record),
    ...laterFields(engine, container, options.version),
  }
}

/** So few, that other work for the workers comes in between. */
const measuredAtOnce = 2

export const listContainers = async (engine: Engine, options: ListOptions): Promise<object[]> => {
  const selected = await selectContainers(engine, options)
  const gate = new Gate(options.size ? measuredAtOnce : selected.length)
  return Promise.all(selected.map(container => gate.run(() => summary(engine, container, options))))
}
