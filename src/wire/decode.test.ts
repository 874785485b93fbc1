import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bool, decodeJson, int, list, map, nullable, object, string, strings } from './decode.ts'

const shape = object({
  Name: string,
  On: bool,
  Count: int,
  Words: list(string),
  Args: strings,
  Labels: map(string),
  Ports: map(nullable(list(object({ HostPort: string })))),
})

test('keys match whatever their case, unknown ones are left out, null is absent', () => {
  assert.deepEqual(decodeJson('{"NAME":"a","on":true,"Count":null,"More":7,"words":null}', shape), {
    Name: 'a',
    On: true,
  })
})

test('null within a list or a map is the zero value, unless it means something there', () => {
  assert.deepEqual(
    decodeJson('{"Words":["a",null],"Labels":{"x":null},"Ports":{"80/tcp":null,"81/tcp":[null]}}', shape),
    { Words: ['a', ''], Labels: { x: '' }, Ports: { '80/tcp': null, '81/tcp': [{}] } },
  )
  assert.deepEqual(decodeJson('null', shape), {})
})

test('a command is a string or a list of them', () => {
  assert.deepEqual(decodeJson('{"Args":"one two"}', shape), { Args: ['one two'] })
  assert.deepEqual(decodeJson('{"Args":["one","two"]}', shape), { Args: ['one', 'two'] })
})

test('a wrong type is refused with the place of it', () => {
  const refused: [string, RegExp][] = [
    ['{"Name":7}', /invalid JSON: Name must be a string, not number/],
    ['{"count":1.5}', /Count must be an integer/],
    ['{"Words":["a",true]}', /Words\[1\] must be a string, not boolean/],
    ['{"Ports":{"80/tcp":[{"HostPort":80}]}}', /Ports\.80\/tcp\[0\]\.HostPort must be a string, not number/],
    ['[]', /the body must be an object, not array/],
    ['{', /^BerthError: invalid JSON: /],
  ]
  for (const [text, words] of refused) assert.throws(() => decodeJson(text, shape), words)
})

test('members that every object has are unknown ones', () => {
  const decoder = object({ Name: string })
  const text = '{"constructor":1,"toString":{},"__proto__":{"Name":"x"},"hasOwnProperty":[],"name":"a"}'
  assert.deepEqual({ ...decodeJson(text, decoder) }, { Name: 'a' })
})
