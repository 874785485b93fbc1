/** What a read fails with where the disk, or what the file system wrote there, is damaged: by errno's name. */
const diskErrors = ['EIO', 'EUCLEAN', 'EBADMSG']

/** Of an error, or of the errno that a worker's error names as its cause. */
export const isDiskError = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? error.code : undefined
  return [code, error.cause].some(name => typeof name === 'string' && diskErrors.includes(name))
}
