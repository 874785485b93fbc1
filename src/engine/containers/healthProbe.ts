import { alarmAfter } from '../../core/alarm.ts'
import { messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import type { HealthCheck } from './health.ts'
import { outputCollector } from './outputCollector.ts'
import type { HealthProbe } from './types.ts'

/** Bytes of a probe's output that are kept. */
const maxOutput = 4096

/** Runs the check once inside the container. A probe that takes too long is ended and counts as failed (-1). */
export const runProbe = async (
  engine: Engine,
  container: Container,
  check: HealthCheck,
): Promise<Pick<HealthProbe, 'ExitCode' | 'Output'>> => {
  try {
    const id = await engine.execs.create(engine, container, {
      Cmd: check.command,
      AttachStdout: true,
      AttachStderr: true,
    })
    const collector = outputCollector(maxOutput)
    await engine.execs.start(engine, id, { tty: false, accept: async () => collector.client })
    const deadline = Promise.withResolvers<'late'>()
    using _deadline = alarmAfter(check.timeout, () => deadline.resolve('late'))
    const outcome = await Promise.race([engine.execs.wait(id), deadline.promise])
    if (outcome === 'late') {
      engine.execs.kill(id)
      return { ExitCode: -1, Output: `Health check exceeded timeout (${check.timeout / 1000}s)` }
    }
    return { ExitCode: outcome, Output: await collector.text() }
  } catch (error) {
    return { ExitCode: -1, Output: messageOf(error) }
  }
}
