import path from 'node:path'
import type { RuntimeSpec } from '../../oci/runtimeSpec.ts'
import { broughtMax, type RuntimeView } from '../../runtime/types.ts'
import type { EngineSettings } from '../settings.ts'

/** Folders of exec-root whose mounts are hidden: each name in them is one container's. */
const hidden = ['mounts', 'netns', 'userns', 'snapshots']

/** The hidden mount in or below which a path lies. */
const hiddenMount = (execRoot: string, place: string): string | undefined => {
  const [folder, name] = path.relative(execRoot, place).split('/')
  return name !== undefined && hidden.includes(folder ?? '')
    ? path.join(execRoot, folder ?? '', name)
    : undefined
}

/** What the runtime is to see of the hidden mounts, by its own specification; undefined where it is to see all. */
export const runtimeView = (
  { bareNamespace, execRoot }: EngineSettings,
  { root, mounts, linux }: RuntimeSpec,
): RuntimeView | undefined => {
  if (bareNamespace === '') return undefined
  const needed = [
    root.path,
    ...mounts.flatMap(mount => mount.source ?? []),
    ...linux.namespaces.flatMap(namespace => namespace.path ?? []),
  ]
  const brought = [...new Set(needed.flatMap(place => hiddenMount(execRoot, place) ?? []))]
  return brought.length > broughtMax ? undefined : { bare: bareNamespace, brought }
}
