import type { HealthConfig, ImageRunConfig } from '../../oci/image.ts'
import type { ContainerConfig } from '../../wire/container.ts'

/** The container's configuration over its image's: the rules by which Docker lets one override the other. */

const keyOf = (entry: string): string => entry.split('=', 1)[0] ?? entry

/** The image's variables that the user did not name, after the user's own. */
const mergeEnv = (user: string[], image: string[]): string[] => {
  const named = new Set(user.map(keyOf))
  return [...user, ...image.filter(entry => !named.has(keyOf(entry)))]
}

const mergeHealth = (
  user: HealthConfig | undefined,
  image: HealthConfig | undefined,
): HealthConfig | undefined => {
  if (!user) return image
  if (!image) return user
  const merged: HealthConfig = { ...user }
  if (!user.Test?.length && image.Test) merged.Test = image.Test
  for (const key of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval', 'Retries'] as const) {
    const inherited = image[key]
    if (!user[key] && inherited) merged[key] = inherited
  }
  return merged
}

/** Entrypoint and command; an entrypoint of the user's drops the image's command. */
const mergeCommand = (
  user: ContainerConfig,
  image: ImageRunConfig,
): Pick<ContainerConfig, 'Entrypoint' | 'Cmd'> => {
  let { Entrypoint: entrypoint, Cmd: command } = user
  if (!entrypoint?.length) {
    if (!command?.length) command = image.Cmd
    if (entrypoint === undefined) entrypoint = image.Entrypoint
  }
  if (entrypoint?.length === 1 && entrypoint[0] === '') entrypoint = undefined
  return { ...(entrypoint ? { Entrypoint: entrypoint } : {}), ...(command ? { Cmd: command } : {}) }
}

/** A new configuration; neither argument is changed. */
export const mergeConfig = (user: ContainerConfig, image: ImageRunConfig): ContainerConfig => {
  const { Entrypoint: _entrypoint, Cmd: _command, Volumes: _volumes, ...rest } = user
  const merged: ContainerConfig = { ...rest, ...mergeCommand(user, image) }
  merged.Env = mergeEnv(user.Env ?? [], image.Env ?? [])
  merged.Labels = { ...image.Labels, ...user.Labels }
  const exposed = { ...image.ExposedPorts, ...user.ExposedPorts }
  if (Object.keys(exposed).length) merged.ExposedPorts = exposed
  const volumes = { ...image.Volumes, ...user.Volumes }
  if (Object.keys(volumes).length) merged.Volumes = volumes
  if (!user.User && image.User) merged.User = image.User
  if (!user.WorkingDir && image.WorkingDir) merged.WorkingDir = image.WorkingDir
  if (!user.StopSignal && image.StopSignal) merged.StopSignal = image.StopSignal
  if (user.StopTimeout === undefined && image.StopTimeout !== undefined)
    merged.StopTimeout = image.StopTimeout
  if (!user.Shell?.length && image.Shell?.length) merged.Shell = image.Shell
  if (!user.OnBuild?.length && image.OnBuild?.length) merged.OnBuild = image.OnBuild
  const health = mergeHealth(user.Healthcheck, image.Healthcheck)
  if (health) merged.Healthcheck = health
  return merged
}
