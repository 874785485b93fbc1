import { architectureOf, formatPlatform, type Platform } from '../../../oci/platform.ts'

/** What to do where the kernel runs no programs of a platform; undefined for this host's own. */
const foreignHint = (platform: Platform): string | undefined => {
  const own = architectureOf(process.arch)
  const { architecture } = platform
  if (architecture === own) return undefined
  return (
    `this host (${own}) runs no programs of ${formatPlatform(platform)}: have the kernel emulate them, ` +
    `by "docker run --privileged --rm tonistiigi/binfmt --install ${architecture}" or the package qemu-user-static`
  )
}

/** Hears of one step's output whether the kernel refused a program: the runtime writes that as the process would. */
export class FormatErrors {
  readonly #hint: string | undefined
  #isHeard = false

  constructor(platform: Platform) {
    this.#hint = foreignHint(platform)
  }

  hear(stream: 'stdout' | 'stderr', bytes: Uint8Array): void {
    if (this.#hint === undefined || this.#isHeard || stream === 'stdout') return
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
    this.#isHeard = /exec format error/i.test(text)
  }

  /** For the error of the step, where it was refused. */
  get hint(): string | undefined {
    return this.#isHeard ? this.#hint : undefined
  }
}
