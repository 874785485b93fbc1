import { hasCode, messageOf } from '../../core/errors.ts'
import type { Engine } from '../engine.ts'
import { collectSoon, dropFetched } from './collect.ts'

const spaceless = ['disk-full', 'ENOSPC', 'EDQUOT']

/**
 * Runs a pull. Where there is no space for what comes, it does not stay for the
 * next one: it would be in the way of whatever is to free space. Where there is
 * none to unpack it, that is taken away, and what came stays.
 */
export const sparingDisk = async <T>(engine: Engine, pull: () => Promise<T>): Promise<T> => {
  try {
    return await pull()
  } catch (error) {
    if (spaceless.some(code => hasCode(error, code))) await dropQuietly(engine)
    throw error
  }
}

const dropQuietly = async (engine: Engine): Promise<void> => {
  try {
    await engine.fetches.left()
    // Its documents, too, of which no note tells.
    const blobs = await Array.fromAsync(engine.content.list(), ({ digest }) => digest)
    const bytes = (await collectSoon(engine, blobs)) + (await dropFetched(engine))
    engine.log.warn(
      'the disk is full: what pulls had brought and no image has yet is removed, at the latest after loads under way',
      { bytes },
    )
  } catch (error) {
    engine.log.error('what pulls brought could not be removed', { error: messageOf(error) })
  }
}
