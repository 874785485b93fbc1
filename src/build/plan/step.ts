import type { Platform } from '../../oci/platform.ts'
import type { Lookup, Range } from '../dockerfile/types.ts'
import type { Step } from '../graph/types.ts'
import { crossTarget, platformText } from './platform.ts'
import type { PlannedStage, Planning } from './stage.ts'

/** `[linux/arm64 build 2/5] ` with the index as it is. */
const prefixOf = (planning: Planning, stage: PlannedStage, platform: Platform, env: Lookup): string => {
  if (stage.stepCount === 0) return ''
  const runs = planning.request.multiPlatform ? `${platformText(platform)}${crossTarget(platform, env)} ` : ''
  const name = stage.name === '' ? '' : `${stage.name} `
  const total = String(stage.stepCount)
  return `[${runs}${name}${String(stage.stepIndex).padStart(total.length)}/${total}] `
}

/** The name of a stage's next step. */
export const nextStepName = (
  planning: Planning,
  stage: PlannedStage,
  text: string,
  { env = () => undefined, isTrigger = false }: { env?: Lookup; isTrigger?: boolean } = {},
): string => {
  if (stage.stepCount === 0) return text
  stage.stepIndex++
  const platform = stage.platform ?? planning.targetPlatform
  return `${prefixOf(planning, stage, platform, env)}${isTrigger ? 'ONBUILD ' : ''}${text}`
}

/** The instruction's name in capitals. */
export const withCapitals = (text: string): string => {
  const space = text.indexOf(' ')
  const end = space < 0 ? text.length : space
  return text.slice(0, end).toUpperCase() + text.slice(end)
}

/** A range that ends before a line's first character does not touch it. */
export const placeOf = ({ request }: Planning, { start, end }: Range): NonNullable<Step['source']> => ({
  file: request.fileName,
  ranges: [{ start: start.line, end: Math.max(start.line, end.column === 0 ? end.line - 1 : end.line) }],
})

export const internalStep = (what: string): Step => ({ name: `[internal] ${what}` })
