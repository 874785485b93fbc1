import type { Vertex, VertexDigest } from '../graph/types.ts'
import type { BuildEvent, VertexState } from '../solver/types.ts'
import type { ClassicStep } from './steps.ts'

interface Known {
  vertex: Vertex
  state: VertexState
  /** What it wrote while it was not its turn. */
  waiting: string
}

const isOver = (state: VertexState): boolean => state !== 'waiting' && state !== 'running'

/** Bytes of output that wait for their turn; what is more is left out, with a notice. */
const mostWaiting = 1 << 20

/** `Step 2/5 : RUN make`, ` ---> Using cache`: steps one after another, however they are run. */
export class ClassicStream {
  readonly #say: (text: string) => void
  #steps: readonly ClassicStep[] = []
  #place = -1
  readonly #known = new Map<VertexDigest, Known>()

  constructor(say: (text: string) => void) {
    this.#say = say
  }

  /** `vertices`: all that is to be done. */
  begin(steps: readonly ClassicStep[], vertices: Iterable<Vertex>): void {
    this.#steps = steps
    for (const vertex of vertices)
      if (!this.#known.has(vertex.digest))
        this.#known.set(vertex.digest, { vertex, state: 'waiting', waiting: '' })
    this.#next()
    this.#advance()
  }

  hear(event: BuildEvent): void {
    if (event.kind === 'vertex') {
      const { vertex, state } = event
      const waiting = this.#known.get(vertex.digest)?.waiting ?? ''
      this.#known.set(vertex.digest, { vertex, state, waiting })
      if (state !== 'waiting') this.#cacheInputs(vertex)
    }
    if (event.kind === 'output') this.#output(event.vertex, Buffer.from(event.bytes).toString('utf8'))
    this.#advance()
  }

  /** All steps that are left are over. */
  end(): void {
    while (this.#place < this.#steps.length) this.#finish()
  }

  /** Nobody had to ask for what a step takes: it is there. */
  #cacheInputs({ inputs }: Vertex): void {
    for (const { vertex: digest } of inputs) {
      const known = this.#known.get(digest)
      if (known?.state !== 'waiting') continue
      known.state = 'cached'
      this.#cacheInputs(known.vertex)
    }
  }

  #output(digest: VertexDigest, text: string): void {
    const known = this.#known.get(digest)
    if (!known) return
    if (this.#isCurrent(known.vertex)) this.#say(text)
    else if (known.waiting.length < mostWaiting) known.waiting += text
  }

  #isCurrent({ step }: Vertex): boolean {
    const line = this.#steps[this.#place]?.line
    return step.source?.ranges.some(({ start }) => start === line) ?? false
  }

  #current(): Known[] {
    return [...this.#known.values()].filter(({ vertex }) => this.#isCurrent(vertex))
  }

  #next(): void {
    this.#place += 1
    const step = this.#steps[this.#place]
    if (!step) return
    this.#say(`Step ${this.#place + 1}/${this.#steps.length} : ${step.text}\n`)
    for (const known of this.#current()) {
      if (known.waiting !== '') this.#say(known.waiting)
      known.waiting = ''
    }
  }

  #finish(): void {
    const all = this.#current()
    if (all.length > 0 && all.every(({ state }) => state === 'cached')) this.#say(' ---> Using cache\n')
    this.#next()
  }

  #advance(): void {
    while (this.#place >= 0 && this.#place < this.#steps.length) {
      const all = this.#current()
      if (!all.every(({ state }) => isOver(state)) || all.some(({ state }) => state === 'failed')) return
      this.#finish()
    }
  }
}
