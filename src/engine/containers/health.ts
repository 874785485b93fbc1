import { alarmAfter } from '../../core/alarm.ts'
import { nowText } from '../../core/clock.ts'
import { messageOf } from '../../core/errors.ts'
import type { HealthConfig } from '../../oci/image.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import { containerEvent } from './containerEvents.ts'
import { firstProbeOf } from './firstProbe.ts'
import { runProbe } from './healthProbe.ts'
import type { HealthProbe, HealthState } from './types.ts'

/** Health checks of running containers: Docker's defaults, in nanoseconds. */
const second = 1_000_000_000
const defaults = {
  Interval: 30 * second,
  Timeout: 30 * second,
  StartPeriod: 0,
  StartInterval: 5 * second,
  Retries: 3,
}
const keptProbes = 5

export interface HealthCheck {
  command: string[]
  interval: number
  timeout: number
  startPeriod: number
  startInterval: number
  retries: number
}

const value = (config: HealthConfig, key: keyof typeof defaults): number => config[key] || defaults[key]

/** What to run and when; undefined where the container has no check. Durations in milliseconds. */
export const healthCheck = (
  config: HealthConfig | undefined,
  shell: readonly string[],
): HealthCheck | undefined => {
  const [kind, ...rest] = config?.Test ?? []
  if (!config || !kind || kind === 'NONE') return undefined
  // As with Docker, what is of no known kind is no check.
  if (kind !== 'CMD' && kind !== 'CMD-SHELL') return undefined
  const command = kind === 'CMD-SHELL' && rest.length > 0 ? [...shell, ...rest] : rest
  return {
    command,
    interval: value(config, 'Interval') / 1e6,
    timeout: value(config, 'Timeout') / 1e6,
    startPeriod: value(config, 'StartPeriod') / 1e6,
    startInterval: value(config, 'StartInterval') / 1e6,
    retries: value(config, 'Retries'),
  }
}

/** The state after one more probe. Failures in the start period do not count. */
export const nextHealth = (
  before: HealthState,
  probe: HealthProbe,
  options: { retries: number; inStartPeriod: boolean },
): HealthState => {
  const Log = [...before.Log, probe].slice(-keptProbes)
  if (probe.ExitCode === 0) return { Status: 'healthy', FailingStreak: 0, Log }
  if (options.inStartPeriod && before.Status === 'starting') return { ...before, Log }
  const FailingStreak = before.FailingStreak + 1
  const Status = FailingStreak >= options.retries ? 'unhealthy' : before.Status
  return { Status, FailingStreak, Log }
}

const note = (engine: Engine, container: Container, health: HealthState): void => {
  const before = container.record.state.health
  container.record.state.health = health
  if (before && before.Status !== health.Status)
    containerEvent(engine, container, `health_status: ${health.Status}`)
  void engine.containers
    .save(container)
    .catch(error => engine.log.warn('health could not be saved', { error: messageOf(error) }))
}

/** Probes a container until its run ends. `resumed` goes on with the history of an earlier daemon. */
export const startHealth = (engine: Engine, container: Container, resumed = false): void => {
  const { config, state, runs } = container.record
  const check = healthCheck(config.Healthcheck, config.Shell?.length ? config.Shell : ['/bin/sh', '-c'])
  if (!check) {
    delete state.health
    return
  }
  // As with Docker, what earlier runs' probes said stays to be read.
  if (!resumed || !state.health)
    state.health = { Status: 'starting', FailingStreak: 0, Log: state.health?.Log ?? [] }
  const started = Date.parse(state.startedAt)
  const inStartPeriod = (): boolean => Date.now() - started < check.startPeriod
  const live = (): boolean => container.isRunning && container.record.runs === runs && !engine.stopping

  const probe = async (): Promise<void> => {
    if (!live()) return
    if (container.record.state.status === 'running') {
      const during = inStartPeriod()
      const { pauses } = container
      const Start = nowText()
      const result = await runProbe(engine, container, check)
      const { health } = container.record.state
      if (!live() || !health) return
      const options = { retries: check.retries, inStartPeriod: during }
      // A probe that was paused with its container says nothing of it.
      if (container.pauses === pauses)
        note(engine, container, nextHealth(health, { Start, End: nowText(), ...result }, options))
    }
    schedule()
  }
  const schedule = (): void => {
    const starting = container.record.state.health?.Status === 'starting' && inStartPeriod()
    container.healthAlarm?.[Symbol.dispose]()
    container.healthAlarm = alarmAfter(starting ? check.startInterval : check.interval, () => void probe())
  }
  if (!resumed && firstProbeOf(container.record, engine.settings.healthFirstProbe) === 'immediate')
    void probe()
  else schedule()
}
