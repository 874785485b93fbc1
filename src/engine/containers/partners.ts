import { readFileSync } from 'node:fs'
import type { Engine } from '../engine.ts'
import type { Container } from './container.ts'
import type { ContainerRecord } from './types.ts'

/** Of `flags` in proc(5)'s `stat`: the process is ending. */
const PF_EXITING = 0x4

const fieldOf = (stat: string, number: number): string =>
  stat.slice(stat.lastIndexOf(')') + 2).split(' ')[number - 3] ?? ''

/** The kernel ends a process namespace's processes before its first one is seen to have ended. */
const isEnding = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return ['Z', 'X'].includes(fieldOf(stat, 3)) || (Number(fieldOf(stat, 9)) & PF_EXITING) !== 0
  } catch {
    return true
  }
}

const prefix = 'container:'

const findPartner = (engine: Engine, mode = ''): Container | undefined => {
  if (!mode.startsWith(prefix)) return undefined
  try {
    return engine.containers.find(mode.slice(prefix.length))
  } catch {
    // It fits several: the start tells that.
    return undefined
  }
}

/** Those whose namespaces a container joins, where they exist. */
export const partners = (engine: Engine, { id, hostConfig }: ContainerRecord): Container[] =>
  [hostConfig.NetworkMode, hostConfig.PidMode, hostConfig.IpcMode].flatMap(mode => {
    const partner = findPartner(engine, mode)
    return partner && partner.id !== id ? [partner] : []
  })

/** Whether a container that was killed shared the process namespace of one that has ended, or is ending. */
export const endedWithPartner = (engine: Engine, { record }: Container): boolean => {
  const mode = record.hostConfig.PidMode ?? ''
  if (!mode.startsWith(prefix)) return false
  const partner = findPartner(engine, mode)
  return !partner?.isRunning || isEnding(partner.record.state.pid)
}
