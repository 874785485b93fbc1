import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

/** `--claim-docker-socket`, with a /run of its own in which nothing but `prepare` has made something. */
const claim = (prepare: string): { said: string; link: string } => {
  const module = new URL('./listen.ts', import.meta.url).href
  const script = `
    const { claimDockerSocket } = await import(${JSON.stringify(module)})
    const say = text => console.log(text)
    claimDockerSocket('/run/ours.sock', { info: say, warn: say })
  `
  const { stdout, stderr, status } = spawnSync(
    'unshare',
    [
      '--mount',
      'sh',
      '-ec',
      `mount -t tmpfs none /run; ${prepare} "$@"; echo --; readlink /var/run/docker.sock || ls /var/run`,
      'sh',
    ].concat([process.execPath, '--input-type=module', '-e', script]),
    { encoding: 'utf8' },
  )
  assert.equal(status, 0, stderr)
  const [said = '', link = ''] = stdout.split('--\n')
  return { said: said.trim(), link: link.trim() }
}

test('the socket that clients look for leads here where nothing is there', () => {
  assert.deepEqual(claim(''), {
    said: '/var/run/docker.sock leads to /run/ours.sock',
    link: '/run/ours.sock',
  })
})

test('a link of an earlier daemon of ours stays', () => {
  assert.deepEqual(claim('ln -s /run/ours.sock /run/docker.sock;'), { said: '', link: '/run/ours.sock' })
})

test('what belongs to another engine is never touched', () => {
  for (const other of ['echo > /run/docker.sock;', 'ln -s /run/theirs.sock /run/docker.sock;']) {
    const { said, link } = claim(other)
    assert.match(said, /^\/var\/run\/docker\.sock belongs to another engine: stop that engine/)
    assert.match(link, /^docker\.sock$|^\/run\/theirs\.sock$/)
  }
})
