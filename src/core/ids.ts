import { randomBytes } from 'node:crypto'

/** A new object id: 64 lower-case hex digits whose short form is never all digits, as moby's. */
export const newId = (): string => {
  for (;;) {
    const id = randomBytes(32).toString('hex')
    if (/[a-f]/.test(id.slice(0, 12))) return id
  }
}

/** A short random token for names of kernel objects and temporary files: 8 hex digits. */
export const nonce = (): string => randomBytes(4).toString('hex')
