import { constants } from 'node:os'
import { closeDescriptor, duplicateDescriptor } from './descriptors.ts'
import { errno, libc, SystemError } from './ffi.ts'

/**
 * Starting a program that detaches itself. `posix_spawn` shares the memory
 * until exec, so its cost does not grow with the heap, as Node's own does; but
 * nobody here reaps a child, so the program must fork and let its first process
 * end at once, which is waited for.
 */

const posixSpawn = libc.func(
  'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
)
const actionsInit = libc.func('int posix_spawn_file_actions_init(void *actions)')
const actionsDestroy = libc.func('int posix_spawn_file_actions_destroy(void *actions)')
const actionsDup2 = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int target)')
const actionsOpen = libc.func(
  'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, unsigned int mode)',
)
const attributesInit = libc.func('int posix_spawnattr_init(void *attributes)')
const attributesDestroy = libc.func('int posix_spawnattr_destroy(void *attributes)')
const setFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)')
const setDefaults = libc.func('int posix_spawnattr_setsigdefault(void *attributes, const void *set)')
const setMask = libc.func('int posix_spawnattr_setsigmask(void *attributes, const void *set)')
const waitpid = libc.func('int waitpid(int pid, _Out_ int *status, int options)')

/** Larger than glibc's types on every machine: 80 and 336 bytes. */
const OPAQUE_SIZE = 1024
const SIGSET_SIZE = 128
const POSIX_SPAWN_SETSIGDEF = 4
const POSIX_SPAWN_SETSIGMASK = 8
const O_RDWR = 2
const EINTR = 4
/** Above every target, so that setting one never overwrites a source that is still needed. */
const SAFE_NUMBER = 64

/**
 * Node gives a child without its pipes where no descriptor is left, and tells
 * why by an `error` event, which somebody must hear. Errors: SystemError EMFILE.
 */
export const refuseWithoutPipes = (child: { stdout: unknown }, file: string): void => {
  if (!child.stdout) throw new SystemError('spawn', constants.errno.EMFILE, file)
}

export interface DetachedProgram {
  /** Absolute path. */
  file: string
  /** All of argv, the name included. */
  args: string[]
  env: Record<string, string>
  /** Handed over as 3, 4, …; 0 to 2 are /dev/null. The caller keeps and closes its own. */
  descriptors: number[]
}

const check = (result: number, what: string, detail: string): void => {
  if (result !== 0) throw new SystemError(what, result, detail)
}

const fillActions = (actions: Buffer, sources: number[]): void => {
  for (let fd = 0; fd < 3; fd++)
    check(actionsOpen(actions, fd, '/dev/null', O_RDWR, 0), 'addopen', '/dev/null')
  for (const [index, fd] of sources.entries()) check(actionsDup2(actions, fd, 3 + index), 'adddup2', `${fd}`)
}

/** Node ignores SIGPIPE, and its threads block signals: neither may be inherited. */
const fillAttributes = (attributes: Buffer): void => {
  check(setFlags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK), 'setflags', '')
  check(setDefaults(attributes, Buffer.alloc(SIGSET_SIZE, 0xff)), 'setsigdefault', '')
  check(setMask(attributes, Buffer.alloc(SIGSET_SIZE)), 'setsigmask', '')
}

const spawn = (program: DetachedProgram, sources: number[]): number => {
  const actions = Buffer.alloc(OPAQUE_SIZE)
  const attributes = Buffer.alloc(OPAQUE_SIZE)
  check(actionsInit(actions), 'posix_spawn_file_actions_init', '')
  check(attributesInit(attributes), 'posix_spawnattr_init', '')
  try {
    fillActions(actions, sources)
    fillAttributes(attributes)
    const env = Object.entries(program.env).map(([name, value]) => `${name}=${value}`)
    const pid = [0]
    const result = posixSpawn(pid, program.file, actions, attributes, [...program.args, null], [...env, null])
    check(result, 'posix_spawn', program.file)
    return pid[0] ?? 0
  } finally {
    actionsDestroy(actions)
    attributesDestroy(attributes)
  }
}

/**
 * Starts the program and waits for its first process, which must fork and end
 * at once (a millisecond or two). Throws SystemError where it cannot be run,
 * and an Error where the first process does not end with 0.
 */
export const spawnDetached = (program: DetachedProgram): void => {
  const sources: number[] = []
  try {
    for (const fd of program.descriptors) sources.push(duplicateDescriptor(fd, SAFE_NUMBER))
    const pid = spawn(program, sources)
    const status = [0]
    let waited = waitpid(pid, status, 0)
    while (waited < 0 && errno() === EINTR) waited = waitpid(pid, status, 0)
    if (waited !== pid)
      throw new Error(`${program.file} was started, but its first process cannot be waited for`)
    if (status[0] !== 0)
      throw new Error(
        `${program.file} did not detach itself: its first process ended with wait status ${status[0]}`,
      )
  } finally {
    for (const fd of sources) closeDescriptor(fd)
  }
}
