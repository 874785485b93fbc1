import { directory, file, type StoresOptions, symlink } from '../../../store/fixture.ts'

/** The ways in which layers are kept, and a folder of an image for what is written over it. */

export const ways: [string, StoresOptions][] = [
  ['overlay', { snapshotter: 'api' }],
  ['copy', { snapshotter: 'copy', whiteouts: 'record' }],
]

export const base = [
  directory('a', { mode: 0o750, uid: 3, gid: 4 }),
  directory('a/b'),
  file('a/b/f', 'f'),
  file('a/g', 'g'),
  directory('c'),
  file('c/f', 'other'),
  symlink('l', 'a/b'),
]
