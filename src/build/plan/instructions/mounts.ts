import path from 'node:path'
import { quote } from '../../dockerfile/characters.ts'
import { DockerfileError } from '../../dockerfile/errors.ts'
import type { Instruction, Range, RunMount } from '../../dockerfile/types.ts'
import type { Draft, InputList } from '../../graph/draft.ts'
import type { ExecMount, ExecOperation } from '../../graph/types.ts'
import { noteOnce } from '../outline.ts'
import { cleaned, fromRoot } from '../paths.ts'
import type { PlannedStage, Planning } from '../stage.ts'

/** What a RUN sees besides its root. */

interface Mounting {
  planning: Planning
  stage: PlannedStage
  inputs: InputList
  range: Range
}

/** What a RUN's mounts come to. */
export interface Mounted {
  mounts: ExecMount[]
  secretEnv: ExecOperation['secretEnv']
  /** Where the first agent of ssh listens. */
  agent?: string
}

const targetOf = ({ directory }: PlannedStage, { target = '' }: RunMount): string => {
  const clean = target === '' ? '.' : cleaned(target)
  const whole = clean.startsWith('/') ? target : cleaned(path.posix.join('/', directory, target))
  if (whole === '/') throw new DockerfileError(`invalid mount target ${quote(whole)}`)
  return whole
}

/** What a mount shows, which from then on is one of the paths that are used. */
const contentOf = (
  { planning, stage }: Mounting,
  mount: RunMount,
  source: PlannedStage | undefined,
): Draft | undefined => {
  if (!mount.from && mount.type === 'cache') return undefined
  const used = fromRoot(mount.source ?? '')
  if (!source) {
    if (mount.from) return undefined
    stage.contextPaths.add(used)
    return planning.context
  }
  if (!source.isDone)
    throw new DockerfileError(
      `cannot mount from stage ${quote(mount.from ?? '')} to ${quote(mount.target ?? '')}, stage needs to be defined before current command`,
    )
  source.usedPaths.add(used)
  return source.fileSystem
}

const cacheMount = (mounting: Mounting, mount: RunMount, source: PlannedStage | undefined): ExecMount => {
  const content = contentOf(mounting, mount, source)
  const target = targetOf(mounting.stage, mount)
  const folder = fromRoot(mount.source ?? '')
  const { uid, gid, mode } = mount
  const isOwned = folder === '/' && (uid !== undefined || gid !== undefined || mode !== undefined)
  const namespace = mounting.planning.given['BUILDKIT_CACHE_MOUNT_NS'] ?? ''
  return {
    kind: 'cache',
    target,
    readOnly: mount.readOnly,
    id: `${namespace}/${mount.id || cleaned(mount.target || '.')}`,
    sharing: mount.sharing ?? 'shared',
    // One with an owner begins empty.
    input: isOwned ? undefined : mounting.inputs.add(content),
    source: folder,
    ...(isOwned ? { owner: { uid: uid ?? 0, gid: gid ?? 0, mode: mode ?? 0o755 } } : {}),
  }
}

const bindMount = (mounting: Mounting, mount: RunMount, source: PlannedStage | undefined): ExecMount => {
  const content = contentOf(mounting, mount, source)
  return {
    kind: 'bind',
    target: targetOf(mounting.stage, mount),
    readOnly: mount.readOnly,
    input: mounting.inputs.add(content),
    source: fromRoot(mount.source ?? ''),
    output: undefined,
  }
}

const tmpfsMount = ({ stage }: Mounting, mount: RunMount): ExecMount => ({
  kind: 'tmpfs',
  target: targetOf(stage, mount),
  readOnly: mount.readOnly,
  ...(mount.size ? { size: mount.size } : {}),
})

const addSecret = ({ stage, range }: Mounting, mounted: Mounted, mount: RunMount): void => {
  const { required, env, uid = 0, gid = 0, mode = 0o400 } = mount
  const id = mount.source || mount.id || path.posix.basename(mount.target ?? '')
  if (id === '') throw new DockerfileError('one of source, target required')
  noteOnce(stage.outline.secrets, id, { required, range })
  if (env !== undefined) mounted.secretEnv.push({ id, name: env || id, required })
  const target = mount.target || (env === undefined ? `/run/secrets/${path.posix.basename(id)}` : undefined)
  if (target !== undefined)
    mounted.mounts.push({ kind: 'secret', target, readOnly: true, id, required, uid, gid, mode })
}

const addSsh = ({ stage, range }: Mounting, mounted: Mounted, mount: RunMount): void => {
  if (mount.source) throw new DockerfileError('ssh does not support source')
  const { required, uid = 0, gid = 0, mode = 0o600 } = mount
  const id = mount.id || 'default'
  noteOnce(stage.outline.ssh, id, { required, range })
  const number = mounted.mounts.filter(({ kind }) => kind === 'ssh').length
  const target = mount.target || `/run/buildkit/ssh_agent.${number}`
  mounted.agent ??= target
  mounted.mounts.push({ kind: 'ssh', target, readOnly: true, id, required, uid, gid, mode })
}

/** The mounts of a RUN: folders by their targets, so that those within others come after them, then secrets and agents. */
export const mountsOf = (
  mounting: Omit<Mounting, 'range'>,
  run: Extract<Instruction, { name: 'RUN' }>,
  { mounts, sources }: { mounts: RunMount[]; sources: (PlannedStage | undefined)[] },
): Mounted => {
  const place = { ...mounting, range: run.range }
  const folders: ExecMount[] = []
  const mounted: Mounted = { mounts: [], secretEnv: [] }
  for (const [index, mount] of mounts.entries()) {
    const source = sources[index]
    if (mount.type === 'secret') addSecret(place, mounted, mount)
    else if (mount.type === 'ssh') addSsh(place, mounted, mount)
    else if (mount.type === 'tmpfs') folders.push(tmpfsMount(place, mount))
    else if (mount.type === 'cache') folders.push(cacheMount(place, mount, source))
    else folders.push(bindMount(place, mount, source))
  }
  folders.sort((a, b) => (a.target < b.target ? -1 : a.target > b.target ? 1 : 0))
  return { ...mounted, mounts: [...folders, ...mounted.mounts] }
}
