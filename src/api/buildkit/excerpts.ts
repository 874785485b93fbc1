import type { BuildWarning } from '../../build/build.ts'
import { type DockerfileSource, FrontendError } from '../../build/frontend/frontend.ts'
import { StepError } from '../../build/result.ts'
import type { SourceExcerpt, WarningInfo } from '../../build/solver/progress.ts'
import { causeOf } from '../../core/errors.ts'

/** Where in a Dockerfile errors and warnings come from, as clients show it. */

const excerptOf = ({ fileName, text }: DockerfileSource, ranges: FrontendError['ranges']): SourceExcerpt => ({
  file: fileName,
  text: Buffer.from(text),
  language: 'Dockerfile',
  ranges: ranges.map(({ start, end }) => ({
    start: { line: start.line, character: start.column },
    end: { line: end.line, character: end.column },
  })),
})

export const excerptsOfError = (error: unknown): SourceExcerpt[] => {
  if (error instanceof FrontendError) return [excerptOf(error.source, error.ranges)]
  const step = causeOf(error, StepError)
  if (!step || step.lines.length === 0) return []
  const wholeLines = step.lines.map(({ start, end }) => ({
    start: { line: start, column: 0 },
    end: { line: end, column: 0 },
  }))
  return [excerptOf(step.source, wholeLines)]
}

/** What a check found, as clients are told. */
export const warningInfo = ({
  rule,
  message,
  description,
  url,
  ranges,
  vertex,
  source,
}: BuildWarning): WarningInfo => ({
  vertex,
  level: 1,
  short: `${rule}: ${message} (line ${ranges[0]?.start.line ?? 0})`,
  detail: [description],
  url,
  source: excerptOf(source, ranges),
})
