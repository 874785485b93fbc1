import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DockerfileError } from '../errors.ts'
import type { Lookup } from '../types.ts'
import { expandText, expandWord, expandWords } from './expand.ts'

const values: Record<string, string> = {
  PWD: '/home',
  SHELL: 'bash',
  EMPTY: '',
  KOREAN: '한국어',
  path: 'a/b/a/c.tar.gz',
  spaces: ' x  y ',
  lines: 'one\ntwo',
}
const lookup: Lookup = name => (Object.hasOwn(values, name) ? values[name] : undefined)

const cases: [word: string, value: string][] = [
  ['plain', 'plain'],
  ["he'll'o", 'hello'],
  ["he\\'llo", "he'llo"],
  ['abc\\tdef', 'abctdef'],
  ['"abc\\tdef"', 'abc\\tdef'],
  ['"a\\\\b"', 'a\\b'],
  ["'a\\\\b'", 'a\\\\b'],
  ['end\\', 'end'],
  ['"say \\"x\\""', 'say "x"'],
  ['$.', '$.'],
  ['he$1x', 'hex'],
  ['$PWD.', '/home.'],
  ['\\$PWD', '$PWD'],
  ['\\\\$PWD', '\\/home'],
  ['"\\$PWD $PWD"', '$PWD /home'],
  ["'$PWD'", '$PWD'],
  ['\\${}', '${}'],
  ['${nothing}x', 'x'],
  ['${PWD}x', '/homex'],
  ['${nothing:-word}', 'word'],
  ['${nothing-word}', 'word'],
  ['${EMPTY:-word}', 'word'],
  ['${EMPTY-word}', ''],
  ['${PWD:+word}', 'word'],
  ['${EMPTY:+word}', ''],
  ['${EMPTY+word}', 'word'],
  ['${nothing+word}', ''],
  ['${PWD:?word}', '/home'],
  ['${EMPTY?word}', ''],
  ['${a:-${b:-$PWD}}', '/home'],
  ['${a:-"q w"}', 'q w'],
  ['${a:-\\$PWD}', '$PWD'],
  ['${a:-b}}', 'b}'],
  ['${PWD:+${PWD}:}x', '/home:x'],
  ['${1:-b}', 'b'],
  ['$999a', 'a'],
  ['$@@', '@'],
  ['${#:-b}', 'b'],
  ['$KOREAN어', ''],
  ['안녕${KOREAN}', '안녕한국어'],
  ['a<<b<c', 'a<<b<c'],
  ['${path#a}', '/b/a/c.tar.gz'],
  ['${path#*/}', 'b/a/c.tar.gz'],
  ['${path##*/}', 'c.tar.gz'],
  ['${path%.*}', 'a/b/a/c.tar'],
  ['${path%%.*}', 'a/b/a/c'],
  ['${path#?}', '/b/a/c.tar.gz'],
  ['${path#none}', 'a/b/a/c.tar.gz'],
  ['${path#\\*}', 'a/b/a/c.tar.gz'],
  ['${nothing#a}', ''],
  ['${lines#*w}', 'one\ntwo'],
  ['${path/a/X}', 'X/b/a/c.tar.gz'],
  ['${path//a/X}', 'X/b/X/c.tXr.gz'],
  ['${path//[.]/_}', 'a/b/a/c.tar.gz'],
  ['${path/\\//-}', 'a-b/a/c.tar.gz'],
  ['${path//\\//-}', 'a-b-a-c.tar.gz'],
  ['${path/b*c/-}', 'a/-.tar.gz'],
  ['${path/./$SHELL}', 'a/b/a/cbashtar.gz'],
  ['${path//?/.}', '..............'],
  ['${path//*/x}', 'x'],
]

for (const [word, value] of cases)
  test(`${word} is ${JSON.stringify(value)}`, () => assert.equal(expandWord(word, lookup, '\\').value, value))

const wrong: [word: string, message: string][] = [
  ["he'llo", 'unexpected end of statement while looking for matching single-quote'],
  ['"hello\\"', 'unexpected end of statement while looking for matching double-quote'],
  ['${}', 'syntax error: bad substitution'],
  ['${{x}', 'syntax error: bad substitution'],
  ['${:-x}', 'syntax error: bad substitution'],
  ['${x', "syntax error: missing '}'"],
  ['${', "syntax error: missing '}'"],
  ['${x:', "syntax error: missing '}'"],
  ['${x:-y', "syntax error: missing '}'"],
  ['${x:-"y}', "syntax error: missing '}'"],
  ['${.}', 'unsupported modifier (.) in substitution'],
  ['${x:=y}', 'unsupported modifier (:=) in substitution'],
  ['${x:#y}', 'unsupported modifier (:#) in substitution'],
  ['${x?}', 'x: is not allowed to be unset'],
  ['${x:?}', 'x: is not allowed to be unset'],
  ['${EMPTY:?}', 'EMPTY: is not allowed to be empty'],
  ['${x?give x}', 'x: give x'],
  ['${PWD/a}', "syntax error: missing '/' in ${}"],
  ['${PWD/a/b', "syntax error: missing '}'"],
  ['${PWD#\\x}', "invalid pattern (\\x) in substitution: invalid escape '\\x'"],
  [`${'${a:-'.repeat(300)}${'}'.repeat(300)}`, 'syntax error: substitutions are nested too deep'],
]

for (const [word, message] of wrong)
  test(`${word.slice(0, 20)}: ${message}`, () =>
    assert.throws(
      () => expandWord(word, lookup, '\\'),
      (error: Error) => error instanceof DockerfileError && error.message.endsWith(`: ${message}`),
    ))

test('an error tells of the word', () =>
  assert.throws(() => expandWord('a"\n', lookup, '\\'), {
    message:
      'failed to process "a\\"\\n": unexpected end of statement while looking for matching double-quote',
  }))

test('the escape character is that of the file', () => {
  assert.equal(expandWord('`$PWD\\$PWD', lookup, '`').value, '$PWD\\/home')
  assert.equal(expandWord('"C:\\`$x"', lookup, '`').value, 'C:\\$x')
})

test('names that were looked up are told, with and without a value', () => {
  const { used, unset } = expandWord('$PWD ${a:-$b} ${EMPTY:-$c} $PWD', lookup, '\\')
  assert.deepEqual(used, ['PWD', 'EMPTY'])
  assert.deepEqual(unset, ['b', 'a', 'c'])
})

const split: [text: string, words: string[]][] = [
  ['', []],
  ['  a  b ', ['a', 'b']],
  ['a"b c"d e', ['ab cd', 'e']],
  ['a\\ b', ['a b']],
  ['x${spaces}z', ['x', 'x', 'y', 'z']],
  ['x"${spaces}"z', ['x x  y z']],
  ['a${none:-b}c', ['abc']],
  ['$none', []],
]
for (const [text, words] of split)
  test(`${text} is split into ${JSON.stringify(words)}`, () =>
    assert.deepEqual(expandWords(text, lookup, '\\').words, words))

test('a text keeps its quotes', () =>
  assert.equal(expandText('say "$PWD" and \'$PWD\' \\$PWD', lookup).value, 'say "/home" and \'/home\' $PWD'))

const pieces = fc.constantFrom(...'$${}:-+?#%/\\\'"<* ab'.split(''), '${', '${a:-', '${path//', '$PWD')

test('any word has a value or a DockerfileError', () => {
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), parts => {
      try {
        expandWord(parts.join(''), lookup, '\\')
      } catch (error) {
        assert.ok(error instanceof DockerfileError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

/** What POSIX says of `#` and `%`: the shortest and longest that match, found by trying all. */
const matchesWhole = (pattern: string, text: string): boolean => {
  if (pattern === '') return text === ''
  if (pattern[0] === '*')
    return Array.from({ length: text.length + 1 }, (_, at) => text.slice(at)).some(rest =>
      matchesWhole(pattern.slice(1), rest),
    )
  return (
    text !== '' &&
    (pattern[0] === '?' || pattern[0] === text[0]) &&
    matchesWhole(pattern.slice(1), text.slice(1))
  )
}

test('patterns take what trying all lengths takes', () => {
  const letters = (from: string, maxLength: number) =>
    fc.array(fc.constantFrom(...from), { maxLength }).map(chars => chars.join(''))
  fc.assert(
    fc.property(letters('ab*?', 5), letters('ab', 8), (pattern, value) => {
      const lengths = Array.from({ length: value.length + 1 }, (_, at) => at)
      const heads = lengths.filter(at => matchesWhole(pattern, value.slice(0, at)))
      const tails = lengths.filter(at => matchesWhole(pattern, value.slice(value.length - at)))
      const of = (form: string): string =>
        expandWord(form, name => (name === 'v' ? value : undefined), '\\').value
      assert.equal(of(`\${v#${pattern}}`), value.slice(heads[0] ?? 0))
      assert.equal(of(`\${v##${pattern}}`), value.slice(heads.at(-1) ?? 0))
      assert.equal(of(`\${v%${pattern}}`), value.slice(0, value.length - (tails[0] ?? 0)))
      assert.equal(of(`\${v%%${pattern}}`), value.slice(0, value.length - (tails.at(-1) ?? 0)))
    }),
    { numRuns: 1000 },
  )
})
