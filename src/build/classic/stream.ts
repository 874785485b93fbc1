import { StringDecoder } from 'node:string_decoder'
import type { Vertex, VertexDigest } from '../graph/types.ts'
import type { BuildEvent, VertexState } from '../solver/types.ts'
import type { ClassicStep } from './steps.ts'

interface Known {
  vertex: Vertex
  state: VertexState
  /** What it wrote while it was not its turn. */
  waiting: string
  /** A character may come in two parts. */
  decoder: StringDecoder
}

const newcomer = (vertex: Vertex): Known => ({
  ...{ vertex, state: 'waiting', waiting: '' },
  decoder: new StringDecoder('utf8'),
})

const isOver = (state: VertexState): boolean => state !== 'waiting' && state !== 'running'

/** Characters of a step's output that wait for its turn, about; what is more is left out, with a notice. */
const mostWaiting = 1 << 20
const cutNotice = '[output clipped: it came before its turn]'

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
      if (!this.#known.has(vertex.digest)) this.#known.set(vertex.digest, newcomer(vertex))
    this.#next()
    this.#advance()
  }

  hear(event: BuildEvent): void {
    if (event.kind === 'vertex') {
      const { vertex, state } = event
      const known = this.#known.get(vertex.digest) ?? newcomer(vertex)
      this.#known.set(vertex.digest, { ...known, vertex, state })
      if (state !== 'waiting') this.#cacheInputs(vertex)
      if (state === 'failed') this.#goTo(vertex)
      this.#advance()
    }
    if (event.kind === 'output') this.#output(event.vertex, event.bytes)
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

  #output(digest: VertexDigest, bytes: Uint8Array): void {
    const known = this.#known.get(digest)
    if (!known) return
    const text = known.decoder.write(bytes)
    if (this.#isCurrent(known.vertex)) this.#say(text)
    else if (known.waiting.length < mostWaiting)
      known.waiting += known.waiting.length + text.length < mostWaiting ? text : `${text}\n${cutNotice}\n`
  }

  /** What ended the build is told of now, whoever's turn it was. */
  #goTo({ step }: Vertex): void {
    const place = this.#steps.findIndex(({ line }) => step.source?.ranges.some(({ start }) => start === line))
    if (place <= this.#place) return
    this.#place = place - 1
    this.#next()
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
