import { UndoStack } from '../../../core/disposal.ts'
import { BerthError, hasCode, messageOf } from '../../../core/errors.ts'
import { failpoint } from '../../../core/failpoint.ts'
import { newId } from '../../../core/ids.ts'
import { containerGroup } from '../../../engine/containers/groups.ts'
import { killGroup } from '../../../linux/cgroups.ts'
import { startFailure } from '../../../runtime/errors.ts'
import type { ExitRecord, MonitorClient, MonitorStatus } from '../../../runtime/types.ts'
import type { LayerRef, Tree } from '../../solver/types.ts'
import { FormatErrors } from './foreign.ts'
import { connect, launch, makeRunDirectory, type Running, writeBundle } from './launch.ts'
import type { Output, Preparation } from './mounts.ts'
import { stepOutput } from './output.ts'
import { stepRecord } from './record.ts'
import { prepareRoot } from './root.ts'
import { type ExecStep, type ExecTools, snapshotTree } from './types.ts'

/** A process of a build, as a container that is in no list: what it leaves of its mounts are its results. */

/** `exitCode`: of the process, or why it could not be begun (126, 127, 128). */
export class StepFailed extends BerthError {
  readonly exitCode: number
  readonly command: string

  /** `hint`: what to do about it. */
  constructor(
    args: readonly string[],
    { exitCode, oomKilled, hint }: Pick<ExitRecord, 'exitCode' | 'oomKilled'> & { hint?: string | undefined },
  ) {
    const code = oomKilled ? 'cannot allocate memory' : `exit code: ${exitCode}`
    const why = hint === undefined ? code : `${code}: ${hint}`
    super(
      'step-failed',
      400,
      `process ${JSON.stringify(args.join(' '))} did not complete successfully: ${why}`,
    )
    this.exitCode = exitCode
    this.command = args.join(' ')
  }
}

/** Runs it to its end, or ends it when the signal does. Errors: `StepFailed`, the signal's reason. */
const runToEnd = async (preparation: Preparation, { monitor, exited }: Running): Promise<void> => {
  const { tools, step, record } = preparation
  const { group } = containerGroup(tools.engine.settings, record)
  const format = new FormatErrors(step.platform)
  using output = stepOutput((stream, bytes) => {
    format.hear(stream, bytes)
    step.report.output(stream, bytes)
  })
  await monitor.attach({
    fd: output.fd,
    stdin: false,
    stdout: true,
    stderr: true,
    multiplexed: true,
    pending: Buffer.alloc(0),
    detachKeys: Buffer.alloc(0),
  })
  output.given()
  const end = (): void => killGroup(group)
  step.signal.addEventListener('abort', end, { once: true })
  try {
    step.signal.throwIfAborted()
    const started = await begin(step, monitor)
    failpoint('exec-step.started')
    if (step.signal.aborted) end()
    const exit = started.exit ?? (await exited)
    step.signal.throwIfAborted()
    if (exit.phase === 'failed') refuse(step, exit.error)
    await output.ended
    if (exit.exitCode !== 0) throw new StepFailed(step.operation.args, { ...exit, hint: format.hint })
  } finally {
    step.signal.removeEventListener('abort', end)
  }
}

/** Errors: `StepFailed` where the runtime refused at once. */
const begin = async (step: ExecStep, monitor: MonitorClient): Promise<MonitorStatus> => {
  try {
    return await monitor.start()
  } catch (error) {
    if (hasCode(error, 'monitor-refused')) return refuse(step, messageOf(error))
    throw error
  }
}

/** Told as a process's own words would be. */
const refuse = ({ operation, platform, report }: ExecStep, text: string): never => {
  const { message, exitCode } = startFailure(text, operation.args[0] ?? '')
  report.output('stderr', Buffer.from(`${message}\n`))
  const format = new FormatErrors(platform)
  format.hear('stderr', Buffer.from(message))
  throw new StepFailed(operation.args, { exitCode, oomKilled: false, hint: format.hint })
}

const keep = async ({ below, pending }: Output): Promise<Tree> => {
  if (!pending) return { layers: below }
  await pending.commit()
  return snapshotTree(below, pending.id)
}

const keepAll = async (outputs: readonly Output[]): Promise<Tree[]> => {
  const trees: Tree[] = []
  for (const output of outputs.toSorted((a, b) => a.index - b.index)) trees.push(await keep(output))
  return trees
}

const ownLayer = ({ pending }: Output): LayerRef[] => (pending ? [{ kind: 'snapshot', id: pending.id }] : [])

/**
 * Does an exec operation; its results in their order. What was made for it is
 * gone when this settles, and of results all or none are there. Errors:
 * `StepFailed`, `not-found` for secrets and agents, the signal's reason.
 */
export const runExec = async (tools: ExecTools, step: ExecStep): Promise<Tree[]> => {
  const { engine } = tools
  const id = newId()
  await using undo = new UndoStack((name, error) =>
    engine.log.error(`clearing a build step: ${name}`, { step: id, error: messageOf(error) }),
  )
  const record = stepRecord(engine, step.operation, {
    id,
    readOnly: step.operation.mounts[0]?.readOnly ?? false,
    args: [...(step.emulator ? [step.emulator] : []), ...step.operation.args],
    limits: step.limits,
    warn: text => step.report.warning(text),
  })
  const directory = makeRunDirectory(engine, id, undo)
  const preparation: Preparation = { tools, step, record, directory, undo }
  const { rootfs, outputs, places } = await prepareRoot(preparation)
  failpoint('exec-step.mounted')
  await using running = new UndoStack((name, error) =>
    engine.log.error(`clearing a build step: ${name}`, { step: id, error: messageOf(error) }),
  )
  const started = { ...preparation, undo: running }
  let failure: StepFailed | undefined
  try {
    await connect(started)
    failpoint('exec-step.connected')
    const { spec } = await writeBundle(started, rootfs)
    await runToEnd(started, await launch(started, spec))
  } catch (error) {
    if (!step.left || !(error instanceof StepFailed)) throw error
    failure = error
  } finally {
    // Nothing may run any more when its root is looked at.
    await running.unwind()
    places[Symbol.dispose]()
  }
  failpoint('exec-step.ended')
  if (!failure) return await keepAll(outputs)
  try {
    step.left?.({ trees: await keepAll(outputs), own: outputs.flatMap(ownLayer) })
  } catch (error) {
    engine.log.warn('what a failed build step left could not be kept', { step: id, error: messageOf(error) })
  }
  throw failure
}
