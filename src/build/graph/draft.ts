import type { Platform } from '../../oci/platform.ts'
import type { GraphBuilder } from './builder.ts'
import type { Edge, InputIndex, Operation, Step } from './types.ts'

/**
 * A vertex before its digest is known: which files of a context it takes is told by what comes after it, so that its
 * operation may be a function that is called at the end. Its one result is a file system.
 */
export type Draft =
  | { operation: Operation | (() => Operation); inputs: readonly Draft[]; platform: Platform; step: Step }
  /** Of a graph that was made before. */
  | { edge: Edge }

/** Gives the file systems that an operation takes their numbers. */
export class InputList {
  readonly drafts: Draft[] = []

  add(draft: Draft | undefined): InputIndex {
    if (!draft) return undefined
    const known = this.drafts.indexOf(draft)
    return known < 0 ? this.drafts.push(draft) - 1 : known
  }
}

/** Adds a draft with all that it takes. */
export const addDraft = (
  builder: GraphBuilder,
  result: Draft | undefined,
  done: Map<Draft, Edge> = new Map(),
): Edge | undefined => {
  if (!result) return undefined
  const open = [result]
  for (let draft = open.at(-1); draft; draft = open.at(-1)) {
    const edge = edgeOf(builder, draft, done)
    if (edge) {
      done.set(draft, edge)
      open.pop()
    } else if ('inputs' in draft) open.push(...draft.inputs.filter(input => !done.has(input)))
  }
  return done.get(result)
}

/** Undefined where an input of it is to come first. */
const edgeOf = (builder: GraphBuilder, draft: Draft, done: Map<Draft, Edge>): Edge | undefined => {
  if ('edge' in draft) return draft.edge
  const known = done.get(draft)
  if (known) return known
  const inputs = draft.inputs.flatMap(input => done.get(input) ?? [])
  if (inputs.length < draft.inputs.length) return undefined
  const { platform, step } = draft
  const operation = typeof draft.operation === 'function' ? draft.operation() : draft.operation
  return builder.add({ operation, inputs, platform, step })
}
