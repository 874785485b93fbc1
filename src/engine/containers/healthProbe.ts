import { alarmAfter } from '../../core/alarm.ts'
import { messageOf, unavailable } from '../../core/errors.ts'
import { formatDuration } from '../../wire/timestamps.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import type { HealthCheck } from './health.ts'
import { outputCollector } from './outputCollector.ts'
import type { HealthProbe } from './types.ts'

type ProbeResult = Pick<HealthProbe, 'ExitCode' | 'Output'>

/** Bytes of a probe's output that are kept. */
const maxOutput = 4096

/** Milliseconds that the runtime has to begin a probe; they do not count for its time-out. */
const startPatience = 30_000

/** Starts the check's exec; ends it where the runtime hangs. */
const begin = async (engine: Engine, container: Container, check: HealthCheck) => {
  const id = await engine.execs.create(engine, container, {
    Cmd: check.command,
    AttachStdout: true,
    AttachStderr: true,
  })
  const collector = outputCollector(maxOutput)
  const late = new AbortController()
  using _deadline = alarmAfter(startPatience, () =>
    late.abort(unavailable(`timed out starting health check for container ${container.id}`)),
  )
  await engine.execs.start(engine, id, {
    tty: false,
    accept: async () => collector.client,
    operation: { at: () => {}, signal: late.signal },
  })
  const { exitCode, pid } = engine.execs.record(id)
  // Its client was told why.
  if (exitCode !== null && pid === 0) throw unavailable((await collector.text()).trimEnd())
  return { id, collector }
}

const probe = async (
  engine: Engine,
  container: Container,
  check: HealthCheck,
): Promise<ProbeResult & { prepared: number }> => {
  const began = performance.now()
  let prepared = 0
  try {
    if (check.command.length === 0)
      throw unavailable(`healthcheck for container ${container.id} has no command`)
    const { id, collector } = await begin(engine, container, check)
    prepared = (performance.now() - began) / 1000
    const deadline = Promise.withResolvers<'late'>()
    using _deadline = alarmAfter(check.timeout, () => deadline.resolve('late'))
    const outcome = await Promise.race([engine.execs.wait(id), deadline.promise])
    if (outcome !== 'late') return { ExitCode: outcome, Output: await collector.text(), prepared }
    engine.execs.kill(id)
    // Probes that end slowly must not pile up.
    await engine.execs.wait(id)
    const output = await collector.text()
    const text = `Health check exceeded timeout (${formatDuration(check.timeout * 1e6)})`
    return { ExitCode: -1, Output: output === '' ? text : `${text}: ${output}`, prepared }
  } catch (error) {
    return { ExitCode: -1, Output: messageOf(error), prepared }
  }
}

/** Runs the check once inside the container. A probe that takes too long is ended and counts as failed (-1). */
export const runProbe = async (
  engine: Engine,
  container: Container,
  check: HealthCheck,
): Promise<ProbeResult> => {
  const { prepared, ...result } = await probe(engine, container, check)
  engine.metrics.probeEnded({ failed: result.ExitCode !== 0, prepared })
  return result
}
