import { must, run } from './shell.ts'

/** Another host: a network namespace joined by a veth pair to one that plays a daemon's host. */
export interface OtherHost {
  /** Name of its namespace. */
  name: string
  /** File that pins it. */
  namespace: string
  close(): Promise<void>
}

/** `near` and `far` are the addresses of the daemon's host and of the other one, in one /24. */
export const joinOtherHost = async (
  host: string,
  { near, far }: { near: string; far: string },
): Promise<OtherHost> => {
  const name = `${host}o`
  await must(['ip', 'netns', 'add', name])
  await must(['ip', '-n', host, 'link', 'add', 'wan', 'type', 'veth', 'peer', 'name', 'lan', 'netns', name])
  for (const [namespace, link, address] of [
    [host, 'wan', near],
    [name, 'lan', far],
  ] as const) {
    await must(['ip', '-n', namespace, 'addr', 'add', `${address}/24`, 'dev', link])
    await must(['ip', '-n', namespace, 'link', 'set', link, 'up'])
  }
  await must(['ip', '-n', name, 'route', 'add', 'default', 'via', near])
  return {
    name,
    namespace: `/run/netns/${name}`,
    close: async () => {
      await run(['ip', 'netns', 'del', name])
    },
  }
}
