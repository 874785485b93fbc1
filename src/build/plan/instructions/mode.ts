import { DockerfileError } from '../../dockerfile/errors.ts'

const symbolic = /^[ugoa]*([-+=][rwxXstugo]*)+$/

/** `--chmod`: octal, or as chmod(1) has it. Errors: what is neither. */
export const checkMode = (text: string): void => {
  const octal = new DockerfileError(
    `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`,
  )
  if (/^[0-7]+$/.test(text)) {
    if (Number.parseInt(text, 8) > 0o7777) throw octal
    return
  }
  if (/^\d/.test(text)) throw octal
  if (!text.split(',').every(clause => symbolic.test(clause))) throw new DockerfileError('invalid syntax')
}
