/** What differs between two runs of one engine, taken out of what a client shows. */

const masks: [form: RegExp, name: string][] = [
  [/\b[0-9a-f]{64}\b/g, '<id>'],
  [/\b[0-9a-f]{12}\b/g, '<short id>'],
  [
    /\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4} UTC| ?[+-]\d\d:?\d\d|Z)?( m=[+-][\d.]+)?/g,
    '<time>',
  ],
  [
    /(About an? |Less than a )?(\d+ )?(nano|micro|milli)?(second|minute|hour|day|week|month|year)s?( ago)?\b/g,
    '<ago>',
  ],
  [/\b(\d{1,3}\.){3}\d{1,3}\b/g, '<address>'],
  [/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, '<mac>'],
  [/\b\d+(\.\d+)? ?([kMGT]i?B|B)\b/g, '<size>'],
  [/\/tmp\/berth-[^/"' ]+(\/[^"' :]*)?/g, '<path>'],
  [/\b[a-z]+_[a-z]+\b(?=\s*$)/gm, '<name>'],
  [/"(Pid|Size|SizeRw|SizeRootFs|SharedSize|LayersSize|timeNano|time)":\d+/g, '"$1":<number>'],
  [/[ \t]+/g, ' '],
  [/ +$/gm, ''],
]

export const mask = (text: string): string =>
  masks.reduce((masked, [form, name]) => masked.replace(form, name), text)
