import type { ImageRunConfig } from '../../oci/image.ts'
import type { ContainerConfig } from '../../wire/container.ts'

const kept = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'StopTimeout',
  'Shell',
  'OnBuild',
  'Healthcheck',
  'ArgsEscaped',
] as const

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === '' ||
  (typeof value === 'object' && value !== null && Object.keys(value).length === 0)

/** What an image keeps of a container's configuration: how to run it, not how one run was attached or named. */
export const runConfigOf = (config: ContainerConfig): ImageRunConfig =>
  Object.fromEntries(kept.flatMap(key => (isEmpty(config[key]) ? [] : [[key, config[key]]])))
