import { badRequest } from '../../core/errors.ts'
import type { Credentials } from '../../registry-client/types.ts'
import type { BuildClient } from './types.ts'

/** Who sends no files with the request, whose context is an address. */
export const bareClient = (credentials: (domain: string) => Credentials | undefined): BuildClient => {
  const noFolder = async (): Promise<never> => {
    throw badRequest('the request gives no folder to build of: its context is an address')
  }
  return {
    session: '',
    folder: noFolder,
    readFiles: noFolder,
    secret: async () => undefined,
    agent: async () => undefined,
    store: () => undefined,
    credentials: async domain => credentials(domain),
    [Symbol.dispose]: () => {},
  }
}
