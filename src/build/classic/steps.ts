import type { Dockerfile } from '../dockerfile/types.ts'
import type { Graph } from '../graph/types.ts'

/** What the classic builder's clients know as steps: one for each instruction, in the order of the file. */
export interface ClassicStep {
  /** `RUN make` */
  text: string
  /** From 1: what is done for it is known by its line. */
  line: number
}

const linesOf = ({ vertices }: Graph): Set<number> =>
  new Set([...vertices.values()].flatMap(({ step }) => step.source?.ranges.map(({ start }) => start) ?? []))

/** Of the stages that are built: that of the target, and all whose files it needs. */
export const classicSteps = (
  dockerfile: Dockerfile,
  graph: Graph,
  target: string | undefined,
): ClassicStep[] => {
  const lines = linesOf(graph)
  const { stages, metaArguments } = dockerfile
  const last =
    target === undefined || target === ''
      ? stages.length - 1
      : stages.findIndex(
          ({ name, index }) => name?.value === target.toLowerCase() || String(index) === target,
        )
  const built = stages.filter(({ index, range, instructions }) => {
    const own = [range, ...instructions.map(instruction => instruction.range)]
    return index === last || own.some(({ start }) => lines.has(start.line))
  })
  return [
    ...metaArguments.map(({ source, range }) => ({ text: source, line: range.start.line })),
    ...built.flatMap(({ source, range, instructions }) => [
      { text: source, line: range.start.line },
      ...instructions.map(one => ({ text: one.source, line: one.range.start.line })),
    ]),
  ]
}
