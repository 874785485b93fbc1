/** What mount(2) is to be called with, from a volume's options as fstab(5) writes them. */
export interface MountArguments {
  source: string
  type: string
  flags: number
  data: string
}

const MS_REC = 16384
const MS_PROPAGATION = (1 << 17) | (1 << 18) | (1 << 19) | (1 << 20)

/** Flags that a word sets, negative those that it clears. */
const words = new Map(
  Object.entries<number>({
    ...{ defaults: 0, ro: 1, rw: -1, nosuid: 2, suid: -2, nodev: 4, dev: -4, noexec: 8, exec: -8 },
    ...{ sync: 16, async: -16, remount: 32, mand: 64, nomand: -64, dirsync: 128 },
    ...{ noatime: 1024, atime: -1024, nodiratime: 2048, diratime: -2048, bind: 4096, rbind: 4096 | MS_REC },
    ...{
      unbindable: 1 << 17,
      runbindable: (1 << 17) | MS_REC,
      private: 1 << 18,
      rprivate: (1 << 18) | MS_REC,
    },
    ...{ slave: 1 << 19, rslave: (1 << 19) | MS_REC, shared: 1 << 20, rshared: (1 << 20) | MS_REC },
    ...{ relatime: 1 << 21, norelatime: -(1 << 21), strictatime: 1 << 24, nostrictatime: -(1 << 24) },
  }),
)

export const mountArguments = (options: Record<string, string>): MountArguments => {
  let flags = 0
  const data: string[] = []
  for (const word of (options['o'] ?? '').split(',')) {
    const flag = words.get(word)
    if (flag === undefined) data.push(word)
    else flags = flag < 0 ? flags & ~-flag : flags | flag
  }
  return { source: options['device'] ?? '', type: options['type'] ?? '', flags, data: data.join(',') }
}

/** Flags of a mount itself, not of its file system: a runtime that binds it again leaves out what it is not told. */
const ofMount = ['ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'nodiratime', 'strictatime']

/** The words that hold for whatever is bound from a mounted volume. */
export const boundOptions = (options: Record<string, string>): string[] => {
  const { flags } = mountArguments(options)
  return ofMount.filter(word => (flags & (words.get(word) ?? 0)) !== 0)
}

const secret = /(^|,)((?:pass|passwd|password2?|secret|credentials?)=)[^,]*/gi

/** The options for people to read: without passwords. */
export const withoutSecrets = (data: string): string => data.replace(secret, '$1$2********')

/** A failed call in Docker's words, without the kernel's. */
export const describeMount = ({ source, flags, data }: MountArguments, target: string): string => {
  const first = flags & ~MS_PROPAGATION
  return [
    `mount ${source}:${target}`,
    ...(first === 0 ? [] : [`flags: 0x${first.toString(16)}`]),
    ...(data === '' ? [] : [`data: ${withoutSecrets(data)}`]),
  ].join(', ')
}

/** The part of a network file system's options that names a machine. */
export interface Machine {
  name: string
  /** The same arguments with its address in the name's place. */
  at: (address: string) => MountArguments
}

const ipv4 = /^\d{1,3}(\.\d{1,3}){3}$/

/** The machine whose address the kernel must be told, as Docker looks for it; undefined where none is named. */
export const machineOf = (call: MountArguments): Machine | undefined => {
  if (call.type !== 'nfs' && call.type !== 'cifs') return undefined
  const address = /(?:^|,)addr=([^,]*)/.exec(call.data)?.[1]
  if (address)
    return ipv4.test(address)
      ? undefined
      : {
          name: address,
          at: found => ({ ...call, data: call.data.replace(`addr=${address}`, `addr=${found}`) }),
        }
  if (call.type !== 'cifs') return undefined
  const host = /^(?:[a-z]+:)?\/\/([^/]+)/i.exec(call.source)?.[1]
  if (!host || ipv4.test(host) || host.startsWith('[')) return undefined
  return { name: host, at: found => ({ ...call, source: call.source.replace(host, found) }) }
}
