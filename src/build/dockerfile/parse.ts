import { detectDirective, detectSyntax } from './directives.ts'
import { DockerfileError, located } from './errors.ts'
import { readHeredocs } from './heredoc.ts'
import { readFrom } from './instructions/from.ts'
import { readInstruction } from './instructions/read.ts'
import { LineReader } from './lines.ts'
import { mayHaveHeredocs, readStatement, type Statement } from './statement.ts'
import type { Directives, Dockerfile, Instruction, Range, Stage } from './types.ts'

/** All statements of a text. Errors in how they are written come before those in what they mean, as with BuildKit. */
const readStatements = (reader: LineReader): Statement[] => {
  const statements: Statement[] = []
  for (let line = reader.next(); line; line = reader.next()) {
    const current = line
    const statement = located(current, () => readStatement(current, reader.escape))
    if (mayHaveHeredocs(statement))
      statement.heredocs = located(current, () => readHeredocs(current, reader.lines))
    statements.push(statement)
  }
  return statements
}

const directivesOf = (text: string, reader: LineReader): Directives => {
  const syntax = detectSyntax(text)
  const check = detectDirective(text, 'check')
  return {
    ...(syntax ? { syntax: { value: syntax.value, range: syntax.range } } : {}),
    escape: reader.escape,
    ...(check ? { check: { value: check.value, range: check.range } } : {}),
  }
}

const prefixOf = ({ line }: Statement): string => `dockerfile parse error on line ${line.range.start.line}: `

/** The tree of a Dockerfile. Errors: DockerfileError with BuildKit's words. */
export const parseDockerfile = (text: string): Dockerfile => {
  if (text === '') throw new DockerfileError('the Dockerfile cannot be empty')
  const reader = new LineReader(text)
  const statements = readStatements(reader)
  if (statements.length === 0) throw new DockerfileError('file with no instructions', [reader.lines.range])
  const metaArguments: Dockerfile['metaArguments'] = []
  const stages: Stage[] = []
  for (const statement of statements) {
    located(
      statement.line,
      () => {
        if (statement.name === 'FROM') stages.push(readFrom(statement, stages.length))
        else addInstruction(readInstruction(statement), stages, metaArguments)
      },
      prefixOf(statement),
    )
  }
  if (stages.length === 0) throw new DockerfileError('dockerfile contains no stages to build')
  const { emptyContinuations } = reader
  return { directives: directivesOf(text, reader), metaArguments, stages, emptyContinuations }
}

const addInstruction = (
  instruction: Instruction,
  stages: Stage[],
  metaArguments: Dockerfile['metaArguments'],
): void => {
  const stage = stages.at(-1)
  if (stage) stage.instructions.push(instruction)
  else if (instruction.name === 'ARG') metaArguments.push(instruction)
  else throw new DockerfileError('no build stage in current context', [instruction.range])
}

/** Reads the expression of an ONBUILD. `place`: the FROM that it is read for, which is told as the place of all. */
export const parseInstruction = (text: string, place?: Range): Instruction => {
  const read = (): Instruction => {
    const [statement, more] = readStatements(new LineReader(text))
    if (!statement) throw new DockerfileError('file with no instructions')
    if (more) throw new DockerfileError('onbuild trigger should be a single expression')
    if (statement.name === 'FROM') throw new DockerfileError("FROM isn't allowed as an ONBUILD trigger")
    if (place) {
      statement.line.range = place
      statement.line.rangeOf = () => place
      statement.heredocs = statement.heredocs.map(heredoc => ({ ...heredoc, range: place }))
    }
    return readInstruction(statement)
  }
  try {
    return read()
  } catch (error) {
    if (!place || !(error instanceof DockerfileError)) throw error
    throw new DockerfileError(error.message, [place], { cause: error.cause })
  }
}
