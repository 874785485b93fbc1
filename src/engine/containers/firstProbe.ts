import { badRequest } from '../../core/errors.ts'
import type { ContainerConfig, HostConfig } from '../../wire/container.ts'
import { type FirstProbe, firstProbes } from '../settings.ts'

/** When a container's health check is first run. A label or an annotation of this name decides for one container. */
const key = 'berth.health-first-probe'

type Container = { config: ContainerConfig; hostConfig: HostConfig }

const given = ({ config, hostConfig }: Container): string | undefined =>
  hostConfig.Annotations?.[key] ?? config.Labels?.[key]

const isFirstProbe = (value: string): value is FirstProbe =>
  (firstProbes as readonly string[]).includes(value)

/** Errors: `bad-request` for a value that is none. */
export const checkFirstProbe = (container: Container): void => {
  const value = given(container)
  if (value !== undefined && !isFirstProbe(value))
    throw badRequest(
      `invalid value ${JSON.stringify(value)} for ${key}: use one of ${firstProbes.join(', ')}`,
    )
}

export const firstProbeOf = (container: Container, otherwise: FirstProbe): FirstProbe => {
  const value = given(container)
  return value !== undefined && isFirstProbe(value) ? value : otherwise
}
