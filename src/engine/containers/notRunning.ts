import { type BerthError, conflict } from '../../core/errors.ts'
import type { Container } from './container.ts'

/** Why nothing can be done in a container that does not run, in Docker's words. */
export const notRunning = ({ id, record }: Container): BerthError =>
  record.state.status === 'restarting'
    ? conflict(`Container ${id} is restarting, wait until the container is running`)
    : conflict(`container ${id} is not running`)
