import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { instanceOf } from '../../src/daemon/settings.ts'
import type { TestDaemon } from './daemon.ts'
import { groupOwners } from './groups.ts'
import { monitorsOf } from './monitors.ts'
import { must, patience, run } from './shell.ts'

/**
 * Compares what a daemon says that it has with what is in the kernel and on the
 * disk: nothing may be there that no container or image owns, and nothing may
 * be missing. What ends in the background (deletions, dying links) is given time.
 */
interface Owner {
  id: string
  running: boolean
  /** A network namespace of its own. */
  sandbox: boolean
  /** A user namespace of its own, while it runs. */
  userNamespace: boolean
  addresses: string[]
  volumes: string[]
  /** Its own writable layer, and those of its image mounts. */
  uppers: string[]
}

interface Inspected {
  Id: string
  Name: string
  State: { Running: boolean; Status: string; Pid: number }
  HostConfig: { NetworkMode: string; PidMode: string; IpcMode: string }
  NetworkSettings: { Networks: Record<string, { IPAddress: string }> }
  Mounts: { Type: string; Name?: string; Source: string }[]
}

interface State {
  daemon: TestDaemon
  owners: Owner[]
  ids: Set<string>
  running: Set<string>
}

const userNamespace = (pid: number | 'self'): string => {
  try {
    return readlinkSync(`/proc/${pid}/ns/user`)
  } catch {
    return ''
  }
}

const hasOwnUserNamespace = ({ State, HostConfig }: Inspected): boolean => {
  const joins = Object.values(HostConfig).some(mode => String(mode).startsWith('container:'))
  return State.Pid !== 0 && !joins && !['', userNamespace('self')].includes(userNamespace(State.Pid))
}

/** Ids of running containers, and everything a check needs to know of the others. */
const look = async (daemon: TestDaemon): Promise<State> => {
  const list = await daemon.json<{ Id: string }[]>('GET', '/containers/json?all=1')
  const all = await Promise.all(list.map(({ Id }) => daemon.json<Inspected>('GET', `/containers/${Id}/json`)))
  const owners = all.map(entry => ({
    id: entry.Id,
    running: entry.State.Status === 'running' || entry.State.Status === 'paused',
    sandbox:
      entry.HostConfig.NetworkMode !== 'host' && !entry.HostConfig.NetworkMode.startsWith('container:'),
    userNamespace: hasOwnUserNamespace(entry),
    addresses: Object.values(entry.NetworkSettings.Networks).flatMap(({ IPAddress }) => IPAddress || []),
    volumes: entry.Mounts.flatMap(mount => (mount.Type === 'volume' && mount.Name ? [mount.Name] : [])),
    uppers: [
      entry.Id,
      ...entry.Mounts.flatMap(({ Type, Source }) => (Type === 'image' ? path.basename(Source) : [])),
    ],
  }))
  const running = new Set(owners.filter(owner => owner.running).map(owner => owner.id))
  return { daemon, owners, ids: new Set(owners.map(owner => owner.id)), running }
}

const names = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : [])

/** Lines for each name in one and not in the other. */
const compare = (what: string, found: Iterable<string>, wanted: Iterable<string>): string[] => {
  const [there, due] = [new Set(found), new Set(wanted)]
  return [
    ...[...there].filter(name => !due.has(name)).map(name => `${what}: ${name} has no owner`),
    ...[...due].filter(name => !there.has(name)).map(name => `${what}: ${name} is missing`),
  ]
}

const surplus = (what: string, found: Iterable<string>, allowed: ReadonlySet<string>): string[] =>
  [...found].filter(name => !allowed.has(name)).map(name => `${what}: ${name} has no owner`)

const mountTargets = (below: string): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[4] ?? '')
    .filter(target => target.startsWith(`${below}/`))
    .map(target => target.slice(below.length + 1))

const ownMounts = [
  ...['bare', 'bare/mnt', 'mapped-layers', 'mapped-snapshots', 'mounts', 'netns', 'snapshots', 'subpaths'],
  ...['userns', 'views'],
]

const checkMounts = ({ daemon, owners, running }: State): string[] => {
  const due = owners.filter(owner => owner.running)
  // Of a running container: how many parts of volumes it has is not looked at.
  const isPart = (target: string): boolean => {
    const [folder, id = ''] = target.split('/')
    return folder === 'subpaths' && running.has(id)
  }
  return compare(
    'mount',
    mountTargets(daemon.execRoot).filter(target => !ownMounts.includes(target) && !isPart(target)),
    [
      ...due.flatMap(owner => owner.uppers.map(upper => `mounts/${upper}`)),
      ...due.filter(owner => owner.sandbox).map(owner => `netns/${owner.id}`),
      ...due.filter(owner => owner.userNamespace).map(owner => `userns/${owner.id}`),
    ],
  )
}

const checkExecRoot = ({ daemon, owners, ids, running }: State): string[] => {
  const root = daemon.execRoot
  const sandboxes = owners.filter(owner => owner.running && owner.sandbox).map(owner => owner.id)
  const execs = names(path.join(root, 'execs')).filter(id => {
    const file = path.join(root, 'execs', id, 'exec.json')
    if (!existsSync(file)) return true
    return !ids.has((JSON.parse(readFileSync(file, 'utf8')) as { containerId: string }).containerId)
  })
  return [
    ...compare('run directory', names(path.join(root, 'containers')), running),
    ...compare(
      'mount point',
      names(path.join(root, 'mounts')),
      owners.flatMap(owner => (owner.running ? owner.uppers : [])),
    ),
    ...compare('namespace file', names(path.join(root, 'netns')), sandboxes),
    ...compare(
      'user namespace file',
      names(path.join(root, 'userns')),
      owners.filter(owner => owner.userNamespace).map(owner => owner.id),
    ),
    ...surplus('mapped layers', names(path.join(root, 'mapped-layers')), new Set()),
    ...surplus('mount of a build', names(path.join(root, 'snapshots')), new Set()),
    ...surplus('exec directory', execs, new Set()),
    ...names(path.join(root, 'runtime')).flatMap(name =>
      surplus(
        `state of ${name}`,
        names(path.join(root, 'runtime', name)).filter(id => !id.startsWith('.')),
        running,
      ),
    ),
  ]
}

const isUnfinished = (name: string): boolean => name.startsWith('.')

/** Each volume has its folder, each folder its volume; one that nobody named belongs to a container, a mount to a running one. */
const checkVolumes = async ({ daemon, owners }: State): Promise<string[]> => {
  const { Volumes } = await daemon.json<{
    Volumes: { Driver: string; Name: string; Labels: object | null; Options: Record<string, string> | null }[]
  }>('GET', '/volumes')
  const known = Volumes.map(({ Name }) => Name)
  const own = Volumes.filter(({ Driver }) => Driver === 'local').map(({ Name }) => Name)
  const used = owners.flatMap(owner => owner.volumes)
  const anonymous = Volumes.filter(({ Labels }) => 'com.docker.volume.anonymous' in (Labels ?? {}))
  const folder = path.join(daemon.dataRoot, 'volumes')
  const due = owners.flatMap(owner => (owner.running ? owner.volumes : []))
  const mounted = Volumes.filter(({ Name, Options }) => Options?.['device'] && due.includes(Name))
  return [
    ...compare(
      'mount of a volume',
      mountTargets(folder),
      mounted.map(({ Name }) => `${Name}/_data`),
    ),
    ...compare('volume folder', names(folder), own),
    ...own.flatMap(name => surplus(`volume ${name}`, names(path.join(folder, name)), new Set(['_data']))),
    ...surplus('volume in use', used, new Set(known)),
    ...surplus(
      'anonymous volume',
      anonymous.map(({ Name }) => Name),
      new Set(used),
    ),
  ]
}

/** A blob that a pull goes on with. */
const isPartial = (name: string): boolean => name.startsWith('.partial-')

/** A layer that was replaced under a container, which has it mounted. */
const isReplaced = (name: string): boolean => name.startsWith('.replaced-')

const checkDataRoot = ({ daemon, owners, ids, running }: State): string[] => {
  const root = daemon.dataRoot
  const half = ['blobs/sha256', 'layers', 'snapshots', 'uppers', 'containers'].flatMap(folder =>
    names(path.join(root, folder))
      .filter(name => isUnfinished(name) && !isPartial(name))
      .filter(name => !isReplaced(name) || running.size === 0)
      .map(name => `${folder}/${name} is half-made`),
  )
  return [
    ...half,
    ...compare(
      'upper',
      names(path.join(root, 'uppers')),
      owners.flatMap(owner => owner.uppers),
    ),
    ...surplus('container directory', names(path.join(root, 'containers')), ids),
    ...surplus('trash', names(path.join(root, 'trash')), new Set()),
  ]
}

const checkGroups = ({ daemon, running }: State): string[] =>
  surplus('control group', groupOwners(daemon.execRoot), running)

const checkMonitors = async ({ daemon, owners }: State): Promise<string[]> => {
  const running = owners.filter(owner => owner.running).map(owner => owner.id)
  const execs = await Promise.all(
    running.map(async id => {
      const { ExecIDs } = await daemon.json<{ ExecIDs: string[] | null }>('GET', `/containers/${id}/json`)
      return ExecIDs ?? []
    }),
  )
  const found = monitorsOf(daemon.execRoot)
  const twice = found.filter((entry, index) => found.findIndex(({ id }) => id === entry.id) !== index)
  return [
    ...compare(
      'monitor',
      found.map(({ id }) => id || 'descriptor store'),
      [...running, ...execs.flat(), 'descriptor store'],
    ),
    ...twice.map(({ pid, id }) => `monitor: a second one (${pid}) of ${id || 'the descriptor store'}`),
  ]
}

const onHost = (daemon: TestDaemon, command: string[]): Promise<string> =>
  must(['nsenter', `--net=${daemon.namespace}`, ...command])

const checkNetwork = async ({ daemon, owners, running }: State): Promise<string[]> => {
  const addresses = owners.filter(owner => owner.running).flatMap(owner => owner.addresses)
  const links = JSON.parse(await onHost(daemon, ['ip', '-j', 'link'])) as {
    ifname: string
    ifalias?: string
  }[]
  const veths = links.filter(link => link.ifname.startsWith('veth')).length
  const bridges = links.flatMap(({ ifalias = '' }) => /:bridge:(.*)$/.exec(ifalias)?.[1] ?? [])
  const rules = await onHost(daemon, ['nft', 'list', 'table', 'inet', `berth-${instanceOf(daemon.execRoot)}`])
  const commented = [...rules.matchAll(/comment "([a-f0-9]{64})/g)].map(match => match[1] ?? '')
  const networks = await daemon.json<{ Id: string; Driver: string }[]>('GET', '/networks')
  const allowed = new Set([...running, ...networks.map(({ Id }) => Id)])
  return [
    ...(veths === addresses.length ? [] : [`links: ${veths} for ${addresses.length} endpoints`]),
    ...compare(
      'bridge',
      bridges,
      networks.filter(({ Driver }) => Driver === 'bridge').map(({ Id }) => Id),
    ),
    ...surplus('firewall element', commented, allowed),
    ...(new Set(addresses).size === addresses.length
      ? []
      : [`an address is in use twice: ${addresses.join(' ')}`]),
  ]
}

interface Usage {
  /** Bytes by owner; and `Logs`, which are counted among them. */
  Berth: Record<string, number | object>
}

const checkDiskUsage = async ({ daemon }: State): Promise<string[]> => {
  const { Berth } = await daemon.json<Usage>('GET', '/system/df')
  const told = Object.values(Berth).reduce<number>(
    (sum, bytes) => (typeof bytes === 'number' ? sum + bytes : sum),
    0,
  )
  const du = await run(['du', '-s', '-B1', daemon.dataRoot])
  // Something went away under it: what is deleted in the background.
  if (du.code !== 0) return [`disk usage: ${du.stderr}`]
  const counted = Number(du.stdout.split('\t')[0])
  return Math.abs(told - counted) <= counted / 100
    ? []
    : [`disk usage: ${told} told (${JSON.stringify(Berth)}), du counts ${counted}`]
}

const check = async (daemon: TestDaemon): Promise<string[]> => {
  const state = await look(daemon)
  return [
    ...checkMounts(state),
    ...checkExecRoot(state),
    ...checkDataRoot(state),
    ...(await checkVolumes(state)),
    ...checkGroups(state),
    ...(await checkMonitors(state)),
    ...(await checkNetwork(state)),
    ...(await checkDiskUsage(state)),
  ]
}

/** Milliseconds for what ends in the background; only against waiting for ever. */
const limit = 20_000 * patience

/** Fails with everything that is orphaned or lost. */
export const audit = async (daemon: TestDaemon, when = ''): Promise<void> => {
  const end = Date.now() + limit
  for (;;) {
    const problems = await check(daemon)
    if (problems.length === 0) return
    if (Date.now() > end)
      assert.fail(`${when}: orphaned or lost:\n${problems.join('\n')}\n${daemon.log.slice(-3000)}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}
