import { badRequest, messageOf } from '../../core/errors.ts'
import { isVersionAtLeast } from '../../core/versions.ts'
import type { SeccompRule, SpecSeccomp } from '../../oci/runtimeSpec.ts'
import { alwaysAllowed } from './seccompNames.ts'
import { checkSeccompShape } from './seccompShape.ts'

/**
 * Seccomp profiles in Docker's form: rules with conditions (capabilities held,
 * architecture, kernel), resolved for one container into the OCI form.
 */
interface Condition {
  caps?: string[]
  arches?: string[]
  minKernel?: string
}

interface ProfileRule extends Partial<SeccompRule> {
  /** The older form of `names`. */
  name?: string
  includes?: Condition
  excludes?: Condition
}

export interface SeccompProfile {
  defaultAction: string
  /** The socket of a program that decides (SCMP_ACT_NOTIFY), and what it is told. */
  listenerPath?: string
  listenerMetadata?: string
  defaultErrnoRet?: number
  architectures?: string[]
  archMap?: { architecture: string; subArchitectures?: string[] }[]
  flags?: string[]
  syscalls?: ProfileRule[]
}

const allow = 'SCMP_ACT_ALLOW'
const EPERM = 1
const ENOSYS = 38

const allowed = (names: string, includes?: Condition, rest: Partial<ProfileRule> = {}): ProfileRule => ({
  names: names.split(' '),
  action: allow,
  ...(includes ? { includes } : {}),
  ...rest,
})

const whereFirst = (name: string, op: string, value: number): ProfileRule =>
  allowed(name, undefined, { args: [{ index: 0, value, op }] })

const withCap = (cap: string, names: string): ProfileRule => allowed(names, { caps: [`CAP_${cap}`] })

/** CLONE_NEW* but CLONE_NEWTIME: a process without CAP_SYS_ADMIN may not make namespaces. */
const namespaceFlags = 0x7e020000
const noNewNamespaces = { value: 0, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }
const cloneFlags = (index: number) => [{ ...noNewNamespaces, index, value: namespaceFlags }]

/** AF_ALG and AF_VSOCK reach the host's kernel and hypervisor past the namespaces. */
const AF_ALG = 38
const AF_VSOCK = 40

/** Equal in effect to Docker's default profile. */
export const defaultProfile: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: EPERM,
  archMap: [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
    { architecture: 'SCMP_ARCH_S390X', subArchitectures: ['SCMP_ARCH_S390'] },
    { architecture: 'SCMP_ARCH_RISCV64' },
  ],
  syscalls: [
    { names: alwaysAllowed, action: allow },
    allowed('process_vm_readv process_vm_writev ptrace', { minKernel: '4.8' }),
    whereFirst('socket', 'SCMP_CMP_LT', AF_ALG),
    whereFirst('socket', 'SCMP_CMP_EQ', AF_ALG + 1),
    whereFirst('socket', 'SCMP_CMP_GT', AF_VSOCK),
    ...[0x0, 0x8, 0x20000, 0x20008, 0xffffffff].map(value => whereFirst('personality', 'SCMP_CMP_EQ', value)),
    allowed('sync_file_range2 swapcontext', { arches: ['ppc64le'] }),
    allowed('arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls', {
      arches: ['arm', 'arm64'],
    }),
    allowed('arch_prctl', { arches: ['amd64', 'x32'] }),
    allowed('modify_ldt', { arches: ['amd64', 'x32', 'x86'] }),
    allowed('s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr', { arches: ['s390', 's390x'] }),
    allowed('riscv_flush_icache', { arches: ['riscv64'] }),
    withCap('DAC_READ_SEARCH', 'open_by_handle_at'),
    withCap(
      'SYS_ADMIN',
      'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr ' +
        'lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl ' +
        'quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare',
    ),
    allowed('clone', undefined, {
      args: cloneFlags(0),
      excludes: { caps: ['CAP_SYS_ADMIN'], arches: ['s390', 's390x'] },
    }),
    allowed(
      'clone',
      { arches: ['s390', 's390x'] },
      { args: cloneFlags(1), excludes: { caps: ['CAP_SYS_ADMIN'] } },
    ),
    // Its flags lie in memory, where no filter can look: programs fall back to clone on ENOSYS.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS, excludes: { caps: ['CAP_SYS_ADMIN'] } },
    withCap('SYS_BOOT', 'reboot'),
    withCap('SYS_CHROOT', 'chroot'),
    withCap('SYS_MODULE', 'delete_module init_module finit_module'),
    withCap('SYS_PACCT', 'acct'),
    withCap('SYS_PTRACE', 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace'),
    withCap('SYS_RAWIO', 'iopl ioperm'),
    withCap('SYS_TIME', 'settimeofday stime clock_settime clock_settime64'),
    withCap('SYS_TTY_CONFIG', 'vhangup'),
    withCap('SYS_NICE', 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node'),
    withCap('SYSLOG', 'syslog'),
    withCap('BPF', 'bpf'),
    withCap('PERFMON', 'perf_event_open'),
  ],
}

/** What decides the conditions of a profile's rules. */
export interface SeccompContext {
  /** GOARCH's name. */
  architecture: string
  /** `6.12.0-amd64` */
  kernel: string
  /** The bounding set, `CAP_…`. */
  capabilities: readonly string[]
}

const nativeArch: Record<string, string> = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
  s390x: 'SCMP_ARCH_S390X',
  riscv64: 'SCMP_ARCH_RISCV64',
}

const included = (condition: Condition | undefined, context: SeccompContext): boolean => {
  if (!condition) return true
  if (condition.arches?.length && !condition.arches.includes(context.architecture)) return false
  if (condition.caps?.some(cap => !context.capabilities.includes(cap))) return false
  return !condition.minKernel || isVersionAtLeast(context.kernel, condition.minKernel)
}

const excluded = (condition: Condition | undefined, context: SeccompContext): boolean => {
  if (!condition) return false
  if (condition.arches?.includes(context.architecture)) return true
  if (condition.caps?.some(cap => context.capabilities.includes(cap))) return true
  return !!condition.minKernel && isVersionAtLeast(context.kernel, condition.minKernel)
}

const architecturesOf = (profile: SeccompProfile, context: SeccompContext): string[] => {
  if (profile.architectures?.length) return profile.architectures
  const native = nativeArch[context.architecture]
  const mapped = profile.archMap?.find(entry => entry.architecture === native)
  return mapped ? [mapped.architecture, ...(mapped.subArchitectures ?? [])] : []
}

/** Null is absent, as for Go. */
const isAbsent = (value: unknown): value is undefined | null => value === undefined || value === null

/** The rules of a profile that hold for one container, in the form of the OCI runtime specification. */
export const resolveSeccomp = (profile: SeccompProfile, context: SeccompContext): SpecSeccomp => {
  const rules = (profile.syscalls ?? []).filter(
    rule => included(rule.includes, context) && !excluded(rule.excludes, context),
  )
  const architectures = architecturesOf(profile, context)
  return {
    defaultAction: profile.defaultAction,
    ...(isAbsent(profile.defaultErrnoRet) ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    ...(architectures.length ? { architectures } : {}),
    ...(profile.flags?.length ? { flags: profile.flags } : {}),
    ...(profile.listenerPath ? { listenerPath: profile.listenerPath } : {}),
    ...(profile.listenerMetadata ? { listenerMetadata: profile.listenerMetadata } : {}),
    syscalls: rules.map(({ names, name, action, errnoRet, args }) => ({
      names: names ?? (name ? [name] : []),
      action: action ?? allow,
      ...(isAbsent(errnoRet) ? {} : { errnoRet }),
      ...(args?.length ? { args } : {}),
    })),
  }
}

const checkMinKernel = (condition: Condition | undefined): void => {
  const { minKernel } = condition ?? {}
  if (minKernel === undefined || minKernel === '') return
  const [, kernel, major] = /^(\d{1,3})\.(\d{1,3})$/.exec(String(minKernel)) ?? []
  if (kernel === undefined || Number(kernel) > 255 || Number(major) > 255)
    throw badRequest(
      `Decoding seccomp profile failed: invalid kernel version: ${JSON.stringify(minKernel)}, expected "<kernel>.<major>"`,
    )
  if (Number(kernel) === 0 && Number(major) === 0)
    throw badRequest(
      `Decoding seccomp profile failed: invalid kernel version: ${JSON.stringify(minKernel)}, expected "<kernel>.<major>": version cannot be 0.0`,
    )
}

const checkRule = (rule: ProfileRule): void => {
  if (rule.name && rule.names?.length)
    throw badRequest(
      "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
    )
  checkMinKernel(rule.includes)
  checkMinKernel(rule.excludes)
}

const decode = (text: string): SeccompProfile => {
  let profile: unknown
  try {
    profile = JSON.parse(text)
  } catch (error) {
    throw badRequest(`Decoding seccomp profile failed: ${messageOf(error)}`, error)
  }
  if (typeof profile !== 'object' || profile === null || Array.isArray(profile))
    throw badRequest('Decoding seccomp profile failed: it is no JSON object')
  return profile as SeccompProfile
}

/**
 * Reads a profile from the text that `--security-opt seccomp=FILE` sends; undefined for one that says nothing, which
 * means no filter. Errors: `bad-request`.
 */
export const parseSeccompProfile = (text: string): SeccompProfile | undefined => {
  const profile = decode(text)
  if (!profile.defaultAction && !profile.syscalls?.length) return undefined
  if (typeof profile.defaultAction !== 'string')
    throw badRequest('Decoding seccomp profile failed: defaultAction is missing')
  checkSeccompShape(profile)
  if (profile.architectures?.length && profile.archMap?.length)
    throw badRequest(
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    )
  for (const rule of profile.syscalls ?? []) checkRule(rule)
  return profile
}
