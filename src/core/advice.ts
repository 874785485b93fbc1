/** What a person can do about errors of the system, by errno's name. */
const advice: Record<string, string> = {
  EMFILE:
    'the daemon has as many files open as it may: raise its limit (LimitNOFILE= in its systemd unit, ulimit -n in a shell) and restart it, which harms no container',
  ENFILE: 'the host has as many files open as it may: raise it (sysctl fs.file-max), or stop what holds them',
  ENOSPC:
    'free some space and try again: docker system df shows what takes it, df -h and df -i whether the file system is out of bytes or of inodes',
  EDQUOT: 'the quota of the file system is used up: free some space, or raise the quota',
  EROFS:
    'the file system is mounted read-only, perhaps after an error of its disk (see dmesg): remount it rw',
  EACCES:
    'the daemon may not do this: it needs root, and neither a security module (AppArmor, SELinux) nor a mount option may forbid it',
  EPERM:
    'the daemon may not do this: it needs root with all capabilities; inside a container it needs --privileged',
  ENODEV: 'the kernel does not have this device or file system: load its module (modprobe) and try again',
  ENOMEM:
    'the host has no memory left for the kernel: free some, or raise a limit of the daemon’s control group',
}

const codeOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? error.code : ''
  return typeof code === 'string' ? code : ''
}

/** A text with what to do about its errno, where that is known. */
export const withAdvice = (text: string, error: unknown): string => {
  const known = advice[typeof error === 'string' ? error : codeOf(error)]
  return known ? `${text}; ${known}` : text
}
