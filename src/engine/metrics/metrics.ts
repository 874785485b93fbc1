import type { Operation } from '../operations.ts'
import { Histogram } from './histogram.ts'
import type { Family, Sample } from './text.ts'

/** What this daemon counted since its start. Names and labels are dockerd's where it has them; Berth's own begin with `berth_`. */

/** Docker's words for our verbs on containers. */
const containerVerbs: Record<string, string> = {
  create: 'create',
  start: 'start',
  restart: 'restart',
  stop: 'stop',
  rm: 'delete',
  commit: 'commit',
  diff: 'changes',
}

const imageVerbs: Record<string, string> = {
  pull: 'pull',
  push: 'push',
  load: 'load',
  import: 'import',
  save: 'save',
  rm: 'delete',
}

const actions = (noun: string, known: readonly string[] = []): Histogram =>
  new Histogram(
    {
      name: `engine_daemon_${noun}_actions_seconds`,
      help: `The number of seconds it takes to process each ${noun} action`,
    },
    'action',
    known,
  )

interface RequestCount {
  count: number
  seconds: number
}

/** Requests by operation and status; their time by operation. */
class Requests {
  readonly #counts = new Map<string, number>()
  readonly #times = new Map<string, RequestCount>()

  note(operation: string, status: number, seconds: number): void {
    const key = `${operation} ${status}`
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
    const time = this.#times.get(operation) ?? { count: 0, seconds: 0 }
    time.count++
    time.seconds += seconds
    this.#times.set(operation, time)
  }

  families(): Family[] {
    const times = [...this.#times].flatMap(([operation, { count, seconds }]): Sample[] => [
      { suffix: '_sum', labels: { operation }, value: seconds },
      { suffix: '_count', labels: { operation }, value: count },
    ])
    return [
      {
        name: 'berth_api_requests_total',
        help: 'Requests of the API that were answered, by operation and HTTP status',
        type: 'counter',
        samples: [...this.#counts].map(([key, value]) => {
          const [operation = '', code = ''] = key.split(' ')
          return { labels: { operation, code }, value }
        }),
      },
      {
        name: 'berth_api_request_seconds',
        help: 'Seconds until requests of the API were answered or their connection was handed over',
        type: 'summary',
        samples: times,
      },
    ]
  }
}

const timed = async <T>(histogram: Histogram, value: string, work: Promise<T>): Promise<T> => {
  const started = performance.now()
  try {
    return await work
  } finally {
    histogram.observe(value, (performance.now() - started) / 1000)
  }
}

const counter = (name: string, help: string, value: number): Family => ({
  ...{ name, help, type: 'counter' },
  samples: [{ value }],
})

export class Metrics {
  readonly requests = new Requests()
  readonly #hostInfo = new Histogram(
    {
      name: 'engine_daemon_host_info_functions_seconds',
      help: 'The number of seconds it takes to call functions gathering info about the host',
    },
    'function',
  )
  readonly #networks = actions('network')
  readonly #containers = actions('container', ['start', 'changes', 'commit', 'create', 'delete'])
  readonly #images = actions('image')
  readonly #healthStart = new Histogram(
    {
      name: 'engine_daemon_health_check_start_duration_seconds',
      help: 'The number of seconds it takes to prepare to run health checks',
    },
    '',
    [''],
  )
  #healthChecks = 0
  #healthChecksFailed = 0

  /** Settles as `work`, which allocates, connects or releases what containers have of networks. */
  timeNetwork<T>(action: 'allocate' | 'connect' | 'release', work: Promise<T>): Promise<T> {
    return timed(this.#networks, action, work)
  }

  /** Settles as `work`, which gathers facts about the host. */
  timeHostInfo<T>(name: string, work: Promise<T>): Promise<T> {
    return timed(this.#hostInfo, name, work)
  }

  /** An operation has ended, whether it succeeded or not. */
  operationEnded({ verb, subject }: Operation, seconds: number): void {
    const container = subject.type === 'container' ? containerVerbs[verb] : undefined
    if (container) this.#containers.observe(container, seconds)
    const image = subject.type === 'image' || subject.type === 'images' ? imageVerbs[verb] : undefined
    if (image) this.#images.observe(image, seconds)
  }

  /** A probe has ended; `prepared` are the seconds until it ran. */
  probeEnded({ failed, prepared }: { failed: boolean; prepared: number }): void {
    this.#healthChecks++
    if (failed) this.#healthChecksFailed++
    this.#healthStart.observe('', prepared)
  }

  families(): Family[] {
    return [
      this.#containers.family(),
      this.#networks.family(),
      this.#images.family(),
      this.#hostInfo.family(),
      this.#healthStart.family(),
      counter('engine_daemon_health_checks_total', 'The total number of health checks', this.#healthChecks),
      counter(
        'engine_daemon_health_checks_failed_total',
        'The total number of failed health checks',
        this.#healthChecksFailed,
      ),
      ...this.requests.families(),
    ]
  }
}
