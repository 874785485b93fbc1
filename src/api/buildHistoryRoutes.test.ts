import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Builder } from '../build/builder.ts'
import { BuildHistory } from '../build/history/history.ts'
import { defaultLimits } from '../build/history/limits.ts'
import { BuildProgress } from '../build/solver/progress.ts'
import { buildHistoryRoutes } from './buildHistoryRoutes.ts'
import { type Call, Query } from './route.ts'

interface Page {
  Builds: { Ref: string; Status: string; Error: string }[]
  Next: string
}

const historyOf = async (t: TestContext): Promise<BuildHistory> => {
  const root = mkdtempSync(path.join(tmpdir(), 'berth-history-'))
  t.after(() => rmSync(root, { recursive: true }))
  return await BuildHistory.open({
    ...{ root, limits: defaultLimits },
    onError: error => assert.fail(String(error)),
  })
}

const begin = (history: BuildHistory, ref: string) => {
  const progress = new BuildProgress()
  const exporters = [{ type: 'moby', attributes: { name: 'a:1,b:2' } }]
  const open = history.begin({ ref, frontend: 'dockerfile.v0', attributes: {}, exporters }, progress)
  return async (message?: string): Promise<void> => {
    progress.end()
    await open.end(message === undefined ? {} : { error: { code: 2, message } })
  }
}

const ask = async <T>(history: BuildHistory, url: string, method = 'GET'): Promise<T> => {
  const [place = '', query = ''] = url.split('?')
  const [ref] = place.split('/').filter(Boolean)
  const whole = `/berth/v1/builds${ref === undefined ? '' : '/{ref}'}`
  const routes = buildHistoryRoutes({ history } as Builder)
  const route = routes.find(one => one.path === whole && one.method === method)
  assert.ok(route)
  const call = { params: ref === undefined ? {} : { ref }, query: new Query(query) } as unknown as Call
  return (await route.handle(call))?.json as T
}

test('builds are listed from the newest on, a page at a time, whenever they ended', async t => {
  const history = await historyOf(t)
  const ends = ['one', 'two', 'three', 'four'].map(ref => begin(history, ref))
  for (const end of [ends[2], ends[0], ends[1]]) await end?.()
  const first = await ask<Page>(history, '?limit=2')
  assert.deepEqual(
    first.Builds.map(({ Ref, Status }) => [Ref, Status]),
    [
      ['four', 'running'],
      ['three', 'completed'],
    ],
  )
  const rest = await ask<Page>(history, `?limit=2&cursor=${first.Next}`)
  assert.deepEqual([rest.Builds.map(({ Ref }) => Ref), rest.Next], [['two', 'one'], ''])
  await ends[3]?.('it broke')
  const errors = await ask<Page>(history, '?filter=status%3D%3Derror')
  assert.deepEqual(
    errors.Builds.map(one => [one.Ref, one.Error]),
    [['four', 'it broke']],
  )
  for (const query of ['?limit=0', '?limit=1001', '?cursor=x', '?filter=x'])
    await assert.rejects(ask(history, query), /invalid|failed to parse/)
})

test('no build is left out that ended after earlier ones that are still under way', async t => {
  const history = await historyOf(t)
  const ends = ['one', 'two'].map(ref => begin(history, ref))
  await begin(history, 'quick')()
  const first = await ask<Page>(history, '?limit=2')
  assert.deepEqual(
    first.Builds.map(({ Ref }) => Ref),
    ['two', 'one'],
  )
  const rest = await ask<Page>(history, `?limit=2&cursor=${first.Next}`)
  assert.deepEqual([rest.Builds.map(({ Ref }) => Ref), rest.Next], [['quick'], ''])
  for (const end of ends) await end()
})

test('one is found by the beginning of its ref, and forgotten', async t => {
  const history = await historyOf(t)
  await begin(history, 'abc1')()
  await begin(history, 'abd2')()
  const { Ref, Names } = await ask<{ Ref: string; Names: string[] }>(history, 'abc')
  assert.deepEqual([Ref, Names], ['abc1', ['a:1', 'b:2']])
  await assert.rejects(ask(history, 'ab'), /or of several that begin so/)
  await ask(history, 'abc1', 'DELETE')
  await assert.rejects(ask(history, 'abc1'), /no record of a build abc1/)
  assert.equal((await ask<Page>(history, '')).Builds.length, 1)
})
