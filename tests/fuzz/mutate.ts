import type { Random } from '../harness/random.ts'

/** Input that is nearly right: seeds with bytes, pieces and words of others in them. */

const words = [
  ...[
    'null',
    '{}',
    '[]',
    '""',
    '0',
    '-1',
    '1e999',
    '9007199254740993',
    'true',
    '\\ud800',
    '\u0000',
    '\r\n',
    '..',
  ],
  ...[
    '/',
    '%',
    '%00',
    ':',
    '@',
    '=',
    ',',
    '"',
    "'",
    '\\',
    '{"__proto__":{}}',
    '99999999999999999999',
    '-',
    '+',
  ],
  ...['\ufeff', '\u202e', 'é', '💥', '[[[[[[[[', '{"a":{"a":{"a":', '0x', 'NaN', 'Infinity', '\t', '#', '*'],
].map(word => Buffer.from(word))

const splice = (bytes: Buffer, at: number, { cut, put }: { cut: number; put: Uint8Array }): Buffer =>
  Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)])

const noise = (random: Random, most: number): Buffer =>
  Buffer.from(Array.from({ length: random.below(most) }, () => random.below(256)))

const changes: ((bytes: Buffer, random: Random, seeds: readonly Buffer[]) => Buffer)[] = [
  (bytes, random) => splice(bytes, random.below(bytes.length + 1), { cut: 1, put: noise(random, 3) }),
  (bytes, random) => splice(bytes, random.below(bytes.length + 1), { cut: 0, put: random.pick(words) }),
  (bytes, random) =>
    splice(bytes, random.below(bytes.length + 1), { cut: random.below(12), put: random.pick(words) }),
  (bytes, random) =>
    splice(bytes, random.below(bytes.length + 1), { cut: random.below(40), put: Buffer.alloc(0) }),
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => {
    const at = random.below(bytes.length + 1)
    return splice(bytes, at, { cut: 0, put: bytes.subarray(at, at + random.below(64)) })
  },
  (bytes, random, seeds) => {
    const other = random.pick(seeds)
    const from = random.below(other.length + 1)
    return splice(bytes, random.below(bytes.length + 1), {
      cut: random.below(16),
      put: other.subarray(from, from + random.below(200)),
    })
  },
  (bytes, random) => {
    const copy = Buffer.from(bytes)
    if (copy.length > 0) copy[random.below(copy.length)] = random.pick([0, 1, 0x7f, 0x80, 0xff])
    return copy
  },
]

/** One of the seeds, changed a few times; now and then noise alone. At most 64 KiB. */
export const mutated = (seeds: readonly Buffer[], random: Random): Buffer => {
  if (random.below(50) === 0) return noise(random, 300)
  let bytes = random.pick(seeds)
  for (let rounds = 1 + random.below(5); rounds > 0; rounds--)
    bytes = random.pick(changes)(bytes, random, seeds)
  return bytes.subarray(0, 65_536)
}
