/**
 * A command that runs its arguments in a mount namespace of its own, with these files below /etc and /run: the machine's
 * are as they were. Nothing else is left of its /run.
 */
export const withFiles = (files: Record<string, string>): string[] => [
  ...['unshare', '--mount', 'sh', '-ec'],
  [
    'mount -t tmpfs none /run',
    'mkdir /run/.upper /run/.work',
    'mount -t overlay none -o lowerdir=/etc,upperdir=/run/.upper,workdir=/run/.work /etc',
    ...Object.entries(files).flatMap(([name, text]) => [
      `mkdir -p "$(dirname ${name})"`,
      `rm -f ${name}`,
      `printf %b '${text.replaceAll('\n', '\\n')}' > ${name}`,
    ]),
    'exec "$@"',
  ].join('\n'),
  'sh',
]
