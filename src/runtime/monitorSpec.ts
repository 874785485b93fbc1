import { badRequest } from '../core/errors.ts'
import type { MonitorSpec } from './types.ts'

const specMax = 131072

const flag = (value: boolean): string => (value ? '1' : '0')

const taskEntries = (task: MonitorSpec['task']): [string, string][] =>
  task.kind === 'container'
    ? [
        ['bundle', task.bundle],
        ['checkpoint', task.checkpoint ?? ''],
      ]
    : [
        ['container', task.containerId],
        ['process', task.processFile],
      ]

const logEntries = (log: MonitorSpec['log']): [string, string][] =>
  log.driver === 'none'
    ? []
    : [
        ['log-path', log.path],
        ['log-attrs', log.attrs],
        ['log-max-size', `${log.maxSize}`],
        ['log-max-file', `${log.maxFile}`],
      ]

const namespaceEntries = (namespace: MonitorSpec['userNamespace']): [string, string][] =>
  namespace
    ? [
        ['owner-uid', `${namespace.owner.uid}`],
        ['owner-gid', `${namespace.owner.gid}`],
        ['oom-score-adj', `${namespace.oomScoreAdj ?? ''}`],
        ...namespace.hardLimits.map(({ resource, hard }): [string, string] => [
          'hard-limit',
          `${resource}:${hard}`,
        ]),
      ]
    : []

const viewEntries = (view: MonitorSpec['view']): [string, string][] =>
  view ? [['bare', view.bare], ...view.brought.map((value): [string, string] => ['brought', value])] : []

/**
 * The specification as the monitor reads it: key, NUL, value, NUL, … `program`:
 * the runtime's sealed program is handed over with it. Empty
 * values are left out. Throws where a value holds a NUL or all is longer than
 * 128 KiB.
 */
export const encodeMonitorSpec = (spec: MonitorSpec, program = false): Buffer => {
  const entries: [string, string][] = [
    ['id', spec.id],
    ['directory', spec.directory],
    ['runtime', spec.runtime.path],
    ...spec.runtime.args.map((value): [string, string] => ['runtime-arg', value]),
    ['root', spec.runtime.root],
    ['hide-unified', flag(spec.runtime.hideUnified)],
    ['sealed-runtime', flag(program)],
    ...taskEntries(spec.task),
    ...namespaceEntries(spec.userNamespace),
    ['terminal', flag(spec.terminal)],
    ['columns', `${spec.columns}`],
    ['rows', `${spec.rows}`],
    ['open-stdin', flag(spec.openStdin)],
    ['stdin-once', flag(spec.stdinOnce)],
    ...logEntries(spec.log),
    ...spec.monitorCgroups.map((value): [string, string] => ['monitor-cgroup', value]),
    ['memory-cgroup', spec.memoryCgroup],
    ...viewEntries(spec.view),
    ['block-on-slow', flag(spec.blockOnSlowClient)],
  ]
  for (const [key, value] of entries) {
    if (value.includes('\0')) throw badRequest(`the ${key} of ${spec.id} holds a NUL byte; remove it`)
  }
  const text = entries.filter(([, value]) => value !== '').map(([key, value]) => `${key}\0${value}\0`)
  const bytes = Buffer.from(text.join(''))
  if (bytes.length > specMax)
    throw badRequest(
      `the log attributes and paths of ${spec.id} take ${bytes.length} bytes, at most ${specMax}; shorten its labels`,
    )
  return bytes
}
