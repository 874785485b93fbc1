import type { Container } from './container.ts'

/**
 * Whether a start or a stop of this container decides what the next boot of the
 * host does: then it must be on the disk before anybody is told of it.
 */
export const outlivesBoot = (container: Container): boolean => {
  const policy = container.record.hostConfig.RestartPolicy?.Name
  return policy === 'always' || policy === 'unless-stopped'
}
