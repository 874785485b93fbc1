import type { Family, Sample } from './text.ts'

/** Upper bounds in seconds: Prometheus' own defaults, which dockerd's histograms have. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

interface Series {
  /** How many fell into each bucket and no lower one; the last is beyond all bounds. */
  buckets: number[]
  count: number
  sum: number
}

const emptySeries = (): Series => ({ buckets: Array(bounds.length + 1).fill(0), count: 0, sum: 0 })

/** How long things took, by the value of one label. */
export class Histogram {
  readonly #about: Pick<Family, 'name' | 'help'>
  readonly #label: string
  readonly #series = new Map<string, Series>()

  /** Series of `known` values are shown before anything happened. */
  constructor(about: Pick<Family, 'name' | 'help'>, label: string, known: readonly string[] = []) {
    this.#about = about
    this.#label = label
    for (const value of known) this.#series.set(value, emptySeries())
  }

  observe(value: string, seconds: number): void {
    const series = this.#series.get(value) ?? emptySeries()
    this.#series.set(value, series)
    const at = bounds.findIndex(bound => seconds <= bound)
    const index = at < 0 ? bounds.length : at
    series.buckets[index] = (series.buckets[index] ?? 0) + 1
    series.count++
    series.sum += seconds
  }

  family(): Family {
    const samples = [...this.#series].flatMap(([value, series]) => this.#samples(value, series))
    return { ...this.#about, type: 'histogram', samples }
  }

  #samples(value: string, { buckets, count, sum }: Series): Sample[] {
    const labels = value === '' ? {} : { [this.#label]: value }
    let below = 0
    const steps = [...bounds, Number.POSITIVE_INFINITY].map((bound, index) => {
      below += buckets[index] ?? 0
      const le = bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound)
      return { suffix: '_bucket', labels: { ...labels, le }, value: below }
    })
    return [...steps, { suffix: '_sum', labels, value: sum }, { suffix: '_count', labels, value: count }]
  }
}
