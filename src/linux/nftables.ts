import { internal, messageOf, unavailable } from '../core/errors.ts'
import { koffi } from './ffi.ts'

/**
 * libnftables in this process: a command costs a fraction of a millisecond,
 * where starting `nft` costs tens. A context belongs to the network namespace
 * in which it was made.
 */

const OUTPUT_JSON = 1 << 4

const bind = (library: ReturnType<typeof koffi.load>) => ({
  open: library.func('void *nft_ctx_new(uint32_t flags)'),
  free: library.func('void nft_ctx_free(void *context)'),
  bufferOutput: library.func('int nft_ctx_buffer_output(void *context)'),
  bufferError: library.func('int nft_ctx_buffer_error(void *context)'),
  output: library.func('const char *nft_ctx_get_output_buffer(void *context)'),
  error: library.func('const char *nft_ctx_get_error_buffer(void *context)'),
  setFlags: library.func('void nft_ctx_output_set_flags(void *context, unsigned int flags)'),
  run: library.func('int nft_run_cmd_from_buffer(void *context, const char *text)'),
})

type Library = ReturnType<typeof bind>

/** The first complaint of libnftables without its position and its quotation of the batch. */
const firstComplaint = (text: string): string => {
  const lines = text.split('\n').filter(line => line.trim() !== '')
  const line = lines.find(candidate => /error/i.test(candidate)) ?? lines[0] ?? 'no reason was given'
  return line.replace(/^.*?Error:\s*/, '').slice(0, 400)
}

/** One context. Every call is one atomic transaction. */
export class Nftables implements Disposable {
  readonly #library: Library
  #context: unknown

  constructor(library: Library) {
    this.#library = library
    this.#context = library.open(0)
    if (!this.#context) throw unavailable('libnftables could not open a netlink socket')
    library.bufferOutput(this.#context)
    library.bufferError(this.#context)
  }

  #command(text: string, flags: number): string {
    if (!this.#context) throw internal('the nftables context is closed')
    this.#library.setFlags(this.#context, flags)
    const status = Number(this.#library.run(this.#context, text))
    const output = String(this.#library.output(this.#context) ?? '')
    const complaint = String(this.#library.error(this.#context) ?? '')
    if (status !== 0) throw internal(`nftables refused a change: ${firstComplaint(complaint)}`, complaint)
    return output
  }

  /** Runs a batch in nft's own language: all of it or nothing. Errors: `internal` with nft's words. */
  run(batch: string): void {
    this.#command(batch, 0)
  }

  /** Objects of a list command, as libnftables-json(5) describes them. */
  list(command: string): Record<string, unknown>[] {
    const parsed: unknown = JSON.parse(this.#command(command, OUTPUT_JSON) || '{}')
    const objects = parsed && typeof parsed === 'object' && 'nftables' in parsed ? parsed.nftables : []
    return Array.isArray(objects) ? objects : []
  }

  close(): void {
    if (!this.#context) return
    this.#library.free(this.#context)
    this.#context = undefined
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

export type NftablesAccess = { available: true; nft: Nftables } | { available: false; reason: string }

/**
 * Opens and warms up (the first command is much slower than the rest). Where
 * the library or the kernel's part is missing, it says so and throws nothing.
 */
export const openNftables = (file = 'libnftables.so.1'): NftablesAccess => {
  let library: Library
  try {
    library = bind(koffi.load(file))
  } catch (error) {
    return {
      available: false,
      reason: `${file} cannot be loaded (${messageOf(error)}): install libnftables1`,
    }
  }
  try {
    const nft = new Nftables(library)
    try {
      nft.list('list tables')
    } catch (error) {
      nft.close()
      throw error
    }
    return { available: true, nft }
  } catch (error) {
    return { available: false, reason: `the kernel's nf_tables does not answer (${messageOf(error)})` }
  }
}
