/** Prometheus' text exposition format, version 0.0.4. */

export interface Sample {
  /** Goes on after the family's name: `_bucket`, `_sum`. */
  suffix?: string
  labels?: Record<string, string>
  value: number | bigint
}

export interface Family {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram' | 'summary'
  samples: Sample[]
}

export const contentType = 'text/plain; version=0.0.4; charset=utf-8'

const escapeHelp = (text: string): string => text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')

const escapeLabel = (text: string): string => escapeHelp(text).replace(/"/g, '\\"')

const labelText = (labels: Record<string, string> = {}): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length ? `{${pairs.join(',')}}` : ''
}

const valueText = (value: number | bigint): string =>
  value === Number.POSITIVE_INFINITY ? '+Inf' : String(value)

/** One family as text; empty where it has no sample. */
export const familyText = ({ name, help, type, samples }: Family): string => {
  if (samples.length === 0) return ''
  const lines = samples.map(
    ({ suffix = '', labels, value }) => `${name}${suffix}${labelText(labels)} ${valueText(value)}\n`,
  )
  return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`
}
