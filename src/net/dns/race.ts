import { unavailable } from '../../core/errors.ts'
import { type Answer, rcode } from './message.ts'

/**
 * One question to several servers, each a moment after the one before, or at
 * once where that fails. The first good answer wins. A denial by a server
 * further down waits a while for those before it: they may know what it does not.
 */

export interface RaceTimes {
  /** Until the next server is asked as well. */
  stagger: number
  /** How long, from the start, a denial waits for servers before. */
  denial: number
  /** Until there is no answer. */
  deadline: number
}

export interface RaceOptions {
  /** In the order in which they are asked; all are well. */
  upstreams: readonly string[]
  times: RaceTimes
  ask(upstream: string, signal: AbortSignal): Promise<Answer>
  answered(upstream: string): void
  /** It failed or was silent where another answered, or nobody did. */
  failed(upstream: string): void
}

const isGood = ({ rcode: code }: Answer): boolean => code === rcode.noError || code === rcode.nxDomain

const isDenial = ({ records }: Answer): boolean => !records.some(({ section }) => section === 0)

class Race {
  readonly #options: RaceOptions
  readonly #abort = new AbortController()
  readonly #pending = new Set<string>()
  readonly #bad: string[] = []
  readonly #timers: NodeJS.Timeout[] = []
  readonly #result = Promise.withResolvers<Answer>()
  #next = 0
  #denial: { from: string; answer: Answer } | undefined
  /** Of a server that answered that it cannot. */
  #failure: Answer | undefined
  #over = false

  constructor(options: RaceOptions) {
    this.#options = options
  }

  run(): Promise<Answer> {
    const { times } = this.#options
    this.#timers.push(setTimeout(() => this.#end(), times.deadline))
    this.#timers.push(setTimeout(() => this.#denial && this.#end(), times.denial))
    this.#launch()
    return this.#result.promise
  }

  #launch(): void {
    const upstream = this.#options.upstreams[this.#next++]
    if (upstream === undefined) return
    this.#pending.add(upstream)
    this.#options.ask(upstream, this.#abort.signal).then(
      answer => this.#heard(upstream, answer),
      () => this.#heard(upstream, undefined),
    )
    const following = this.#next
    const launchNext = (): void => {
      if (!this.#over && this.#next === following) this.#launch()
    }
    this.#timers.push(setTimeout(launchNext, this.#options.times.stagger))
  }

  #heard(upstream: string, answer: Answer | undefined): void {
    if (this.#over) return
    this.#pending.delete(upstream)
    if (answer && isGood(answer)) this.#good(upstream, answer)
    else this.#failed(upstream, answer)
  }

  #failed(upstream: string, answer: Answer | undefined): void {
    this.#failure ??= answer
    this.#bad.push(upstream)
    const settled = this.#denial !== undefined && this.#nobodyBefore(this.#denial.from)
    if (!settled) this.#launch()
    if (settled || this.#pending.size === 0) this.#end()
  }

  #good(upstream: string, answer: Answer): void {
    const denial = isDenial(answer)
    if (denial) this.#denial ??= { from: upstream, answer }
    if (!denial || this.#nobodyBefore(upstream)) this.#win(upstream, answer)
  }

  #nobodyBefore(upstream: string): boolean {
    const { upstreams } = this.#options
    return !upstreams.slice(0, upstreams.indexOf(upstream)).some(before => this.#pending.has(before))
  }

  #win(upstream: string, answer: Answer): void {
    const { upstreams } = this.#options
    this.#options.answered(upstream)
    const before = upstreams.slice(0, upstreams.indexOf(upstream)).filter(each => this.#pending.has(each))
    for (const each of [...this.#bad, ...before]) this.#options.failed(each)
    this.#finish(() => this.#result.resolve(answer))
  }

  /** Nobody else will answer, or not in time. */
  #end(): void {
    if (this.#over) return
    if (this.#denial) {
      this.#win(this.#denial.from, this.#denial.answer)
      return
    }
    for (const each of this.#pending) this.#options.failed(each)
    const failure = this.#failure
    this.#finish(() => {
      if (failure) this.#result.resolve(failure)
      else this.#result.reject(unavailable('no name server answered'))
    })
  }

  #finish(settle: () => void): void {
    this.#over = true
    for (const timer of this.#timers.splice(0)) clearTimeout(timer)
    settle()
    this.#abort.abort(unavailable('the question is answered'))
  }
}

/**
 * The winner's answer; where none is good, that of a server that answered that
 * it cannot. Errors: `unavailable` where nobody answered.
 */
export const race = (options: RaceOptions): Promise<Answer> => new Race(options).run()
