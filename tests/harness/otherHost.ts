import { must, run } from './shell.ts'

/** Another host: a network namespace joined by a veth pair to one that plays a daemon's host. */
export interface OtherHost {
  /** Name of its namespace. */
  name: string
  /** File that pins it. */
  namespace: string
  close(): Promise<void>
}

/** `near` and `far` are the addresses of the daemon's host and of the other one, in one /24 or, of IPv6, /64. */
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
    const [prefix, ...more] = address.includes(':') ? [64, 'nodad'] : [24]
    await must([
      'ip',
      '-n',
      namespace,
      'addr',
      'add',
      `${address}/${prefix}`,
      'dev',
      link,
      ...more.map(String),
    ])
    await must(['ip', '-n', namespace, 'link', 'set', link, 'up'])
  }
  await must(['ip', '-n', name, 'route', 'add', 'default', 'via', near])
  return {
    name,
    namespace: `/run/netns/${name}`,
    close: async () => {
      // The pair goes at once; with its namespace alone it would some time later.
      await run(['ip', '-n', host, 'link', 'del', 'wan'])
      await run(['ip', 'netns', 'del', name])
    },
  }
}
