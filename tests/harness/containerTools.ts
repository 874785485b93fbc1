import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { projectRoot } from './images.ts'
import { must, run } from './shell.ts'

/**
 * Other programs that write and read images, from Debian's packages: podman, buildah, umoci and skopeo, unpacked
 * with all they need into `.cache/images`. They run within that root, in mounts of their own, on one folder.
 */
const tools = path.join(projectRoot, '.cache/images/container-tools-1')
const packages = ['podman', 'buildah', 'umoci', 'skopeo']

const make = async (target: string): Promise<void> => {
  try {
    await must([path.join(projectRoot, 'scripts/debian-root'), target, ...packages], { deadline: 300_000 })
    for (const folder of ['dev', 'proc', 'tmp', 'run', 'work', 'root', 'var/tmp', 'etc/containers'])
      mkdirSync(path.join(target, folder), { recursive: true })
    // Plugins for networks, of which there are none.
    rmSync(path.join(target, 'usr/lib/cni'), { recursive: true, force: true })
    writeFileSync(path.join(target, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
    writeFileSync(path.join(target, 'etc/group'), 'root:x:0:\n')
    writeFileSync(
      path.join(target, 'etc/containers/policy.json'),
      JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }),
    )
    renameSync(target, tools)
  } catch (error) {
    // Another test file may have been quicker.
    if (!existsSync(tools)) throw error
  } finally {
    rmSync(target, { recursive: true, force: true })
  }
}

const enter = [
  'mount --bind "$1" "$1"; mount --rbind /dev "$1/dev"; mount -t proc proc "$1/proc"; mount --bind "$2" "$1/work"',
  'mount -t tmpfs tmpfs "$1/tmp"; mount -t tmpfs tmpfs "$1/run"; mount -t tmpfs tmpfs "$1/var/tmp"',
  'cd "$1"; shift 2; exec chroot . "$@"',
].join('; ')

const stores = ['--root', '/work/storage', '--runroot', '/run/containers', '--storage-driver', 'vfs']
const own: Record<string, string[]> = {
  podman: [...stores, '--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
  buildah: stores,
  umoci: [],
  skopeo: [],
}

/** Runs one of them with a folder at `/work`, in a network namespace (its file) if told; it must succeed. Gives stdout. */
export const containerTool = async (
  folder: string,
  program: string,
  args: readonly string[],
  namespace?: string,
): Promise<string> => {
  if (!existsSync(tools)) await make(`${tools}.${process.pid}`)
  const command = ['unshare', '-m', 'sh', '-ec', enter, 'sh', tools, folder]
  const within = namespace ? ['nsenter', `--net=${namespace}`] : []
  return await must([...within, ...command, program, ...(own[program] ?? []), ...args])
}

/** Packs a folder, as `tar -C` does. */
export const packed = async (folder: string, target: string): Promise<string> => {
  const { code, stderr } = await run(['tar', '-C', folder, '-cf', target, '.'])
  if (code !== 0) throw new Error(stderr)
  return target
}
