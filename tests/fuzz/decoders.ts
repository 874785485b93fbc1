import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { workerData } from 'node:worker_threads'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { create, toBinary } from '@bufbuild/protobuf'
import { parse as parseToml } from 'smol-toml'
import { decompress } from '../../src/archive/compression.ts'
import { TarParser } from '../../src/archive/parser.ts'
import { cleanPath } from '../../src/archive/paths.ts'
import { archiveEnd, encodeHeader, paddingAfter, tarEntry } from '../../src/archive/writer.ts'
import { readCacheForm } from '../../src/build/cacheTransfer/readForm.ts'
import { IgnoreMatcher, readIgnoreFile } from '../../src/build/dockerfile/ignore.ts'
import { parseDockerfile } from '../../src/build/dockerfile/parse.ts'
import { readAttributes } from '../../src/build/frontend/attributes.ts'
import { withoutPasswords } from '../../src/build/history/attributes.ts'
import { recordFilter } from '../../src/build/history/filter.ts'
import { frameOf } from '../../src/build/history/frames.ts'
import { interruptedRecord } from '../../src/build/history/interrupted.ts'
import type { OpenRecord } from '../../src/build/history/types.ts'
import { parseRowFilters } from '../../src/build/solver/filter.ts'
import { parseGlob } from '../../src/build/steps/file/glob.ts'
import { parseMode } from '../../src/build/steps/file/mode.ts'
import { parseTime } from '../../src/core/clock.ts'
import { BerthError } from '../../src/core/errors.ts'
import { readConfig } from '../../src/daemon/config.ts'
import { parseHost } from '../../src/daemon/listen.ts'
import { settingsOf } from '../../src/daemon/settings.ts'
import { Cursor } from '../../src/engine/containers/delivery/cursor.ts'
import { packMap, packString, readAck } from '../../src/engine/containers/delivery/messagePack.ts'
import { EntryParser } from '../../src/engine/containers/delivery/source.ts'
import { parseDetachKeys } from '../../src/engine/containers/detachKeys.ts'
import { lineFormatter, parseLine } from '../../src/engine/containers/logs/format.ts'
import { parseBind } from '../../src/engine/containers/mountRequests.ts'
import { parseSecurityOptions } from '../../src/engine/containers/securityOptions.ts'
import { parseDeviceRule } from '../../src/engine/containers/specResources.ts'
import { parseDocument } from '../../src/engine/images/pullPlan.ts'
import { parseCpuSet } from '../../src/linux/cpuSets.ts'
import { Framing } from '../../src/net/dns/framing.ts'
import { parseAnswer, parseQuery } from '../../src/net/dns/message.ts'
import { parseUpstream } from '../../src/net/dns/upstreams.ts'
import { parseResolvConf } from '../../src/net/resolv.ts'
import { parseCidr } from '../../src/net/subnets.ts'
import { parsePlatform } from '../../src/oci/platform.ts'
import { familiar, parseReference } from '../../src/oci/reference.ts'
import { parseChallenges } from '../../src/registry-client/challenge.ts'
import { parseContentRange, parseRetryAfter, parseUploadRange } from '../../src/registry-client/headers.ts'
import { parseHostsFile } from '../../src/registry-client/hostsFile.ts'
import { decodeHello, encodeFrame, encodeHello, FrameDecoder } from '../../src/runtime/monitorFrames.ts'
import { decodeExitFile, decodeExitRecord, decodeStatus } from '../../src/runtime/monitorRecord.ts'
import { parseSeccompProfile, resolveSeccomp } from '../../src/runtime/spec/seccomp.ts'
import { StatusResponseSchema } from '../../src/wire/buildkit/control_pb.ts'
import { createRequest, execCreateRequest, updateRequest } from '../../src/wire/container.ts'
import { decodeJson } from '../../src/wire/decode.ts'
import { Filters } from '../../src/wire/filters.ts'
import { networkConnectRequest, networkCreateRequest } from '../../src/wire/network.ts'
import { parseSize } from '../../src/wire/sizes.ts'
import { parseDuration, parseTimestamp } from '../../src/wire/timestamps.ts'
import { volumeCreateRequest } from '../../src/wire/volume.ts'

/** A decoder: what it may be given, and how it is called. It gives a value or throws an error of ours. */
export interface Target {
  seeds: readonly (string | Uint8Array)[]
  decode(bytes: Buffer): unknown
}

const text = (seeds: readonly string[], ...decoders: ((text: string) => unknown)[]): Target => ({
  seeds,
  decode: bytes => {
    const given = bytes.toString()
    for (const decode of decoders) tryOurs(() => decode(given))
  },
})

/** Errors of ours end one decoder, not those after it. */
const tryOurs = (decode: () => unknown): void => {
  try {
    decode()
  } catch (error) {
    if (!(error instanceof BerthError)) throw error
  }
}

const someDigest = `sha256:${'a'.repeat(64)}`

const file = Buffer.from('content of a file\n')
const tar = Buffer.concat([
  encodeHeader(
    tarEntry({
      ...{ type: 'file', name: 'a'.repeat(140), size: file.length, mtime: 1_700_000_000_123_456_789n },
      xattrs: new Map([['user.a', Buffer.from('b')]]),
    }),
  ),
  file,
  paddingAfter(file.length),
  encodeHeader(tarEntry({ type: 'symlink', name: 'link', linkName: '../a' })),
  encodeHeader(tarEntry({ type: 'directory', name: 'dir/' })),
  archiveEnd(),
])

const readTar = (bytes: Buffer): void => {
  let taken = 0
  const parser = new TarParser({
    entry: entry => {
      tryOurs(() => cleanPath(Buffer.from(entry.name).toString()))
    },
    data: chunk => {
      taken += chunk.length
    },
    close: () => {},
  })
  parser.write(bytes.subarray(0, bytes.length >> 1))
  parser.write(bytes.subarray(bytes.length >> 1))
  parser.end()
  // A sparse file's holes are not bytes of the archive.
  if (taken > 64 * 1024 * 1024) throw new Error(`an archive of ${bytes.length} bytes gave ${taken}`)
}

const unpackMost = 4 * 1024 * 1024

const unpack = async (bytes: Buffer): Promise<void> => {
  const source = async function* (): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000)
  }
  const { stream } = await decompress(source())
  let length = 0
  for await (const chunk of stream) {
    length += chunk.length
    if (length > unpackMost) break
  }
}

const logLine = (log: string, more = ''): string =>
  `{"log":${JSON.stringify(log)},"stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"${more}}`

const logOptions = {
  stdout: true,
  stderr: true,
  timestamps: true,
  details: true,
  since: 5n,
  until: 10n ** 20n,
}

const readLogLine = (line: string): void => {
  parseLine(line)
  const options = { ...logOptions, follow: false, tail: -1 } as unknown as Parameters<typeof lineFormatter>[0]
  lineFormatter(options, true)(line)
  const entries = new EntryParser()
  entries.parse(line)
  entries.parse(line)
}

/** `example.com A?` with EDNS, and an answer to it by a pointer. */
const query = Buffer.from(
  '1234010000010000000000010765786d61706c6503636f6d0000010001000029100000000000000a000a0008a1b2c3d4e5f60718'.replace(
    '0765786d61706c65',
    '076578616d706c65',
  ),
  'hex',
)
const question = query.subarray(12, 29)
const answer = Buffer.from(
  '12348180000100010000000007657861' + '6d706c6503636f6d0000010001c00c00010001000000ff0004c0000201',
  'hex',
)

const readMessages = (bytes: Buffer): void => {
  parseQuery(bytes)
  parseAnswer(bytes, { id: 0x1234, question: Buffer.from(question) })
  const framing = new Framing()
  for (const message of framing.push(bytes)) parseQuery(message)
}

const exitPayload = ((): Buffer => {
  const bytes = Buffer.alloc(40)
  bytes.writeUInt32LE(3, 0)
  bytes.writeInt32LE(42, 4)
  return bytes
})()

const readFrames = (bytes: Buffer): void => {
  for (const frame of new FrameDecoder().push(bytes))
    for (const decode of [decodeHello, decodeStatus, decodeExitRecord]) tryOurs(() => decode(frame.payload))
  for (const decode of [decodeHello, decodeStatus, decodeExitRecord, decodeExitFile])
    tryOurs(() => decode(bytes))
}

const seccompContext = { capabilities: ['CAP_SYS_ADMIN'], architecture: 'amd64', kernel: '6.1.0' }

const requests = [
  createRequest,
  execCreateRequest,
  updateRequest,
  networkCreateRequest,
  networkConnectRequest,
]

const openRecord: OpenRecord = {
  ...{ ref: 'abc', frontend: 'dockerfile.v0', attributes: { context: 'https://a/b.git' }, exporters: [] },
  ...{ createdAt: '2026-01-02T03:04:05Z', steps: [], pinned: false, generation: 0 },
  counts: { total: 0, completed: 0, cached: 0, warnings: 0 },
}

const buildLog = frameOf(
  toBinary(
    StatusResponseSchema,
    create(StatusResponseSchema, {
      vertexes: [{ digest: 'sha256:1', name: 'RUN a', started: { seconds: 1n, nanos: 2 } }],
      logs: [{ vertex: 'sha256:1', stream: 1n, msg: Buffer.from('said') }],
    }),
  ),
)

/** In the thread's own folder: for what is read from files. */
const inFile = (name: string, bytes: Uint8Array): string => {
  const target = path.join((workerData as { folder: string }).folder, name)
  writeFileSync(target, bytes)
  return target
}

const hostsToml = `server = "https://docker.io"
[host."https://mirror.example:5000"]
capabilities = ["pull", "resolve"]
ca = "ca.pem"
client = [["a.pem", "a.key"]]
[host."https://mirror.example:5000".header]
x-a = ["b"]
`

export const targets: Readonly<Record<string, Target>> = {
  tar: { seeds: [tar], decode: readTar },
  compression: {
    seeds: [gzipSync(tar), zstdCompressSync(tar), Buffer.concat([gzipSync(file), gzipSync(file)])],
    decode: unpack,
  },
  'log-lines': text(
    [logLine('a line\n'), logLine('no end'), logLine('x\n', ',"attrs":{"a":"b"}')],
    readLogLine,
  ),
  'monitor-frames': {
    seeds: [
      encodeHello(),
      encodeFrame({ type: 0x82, tag: 1, payload: exitPayload }),
      exitPayload,
      Buffer.concat([Buffer.from('BERTHEX1'), Buffer.alloc(8, 1), exitPayload]),
    ],
    decode: readFrames,
  },
  dns: {
    seeds: [query, answer, Buffer.concat([Buffer.from([0, query.length]), query])],
    decode: readMessages,
  },
  'message-pack': {
    seeds: [packMap({ ack: packString('abc') }), packMap({ ack: packString('x'.repeat(40)) })],
    decode: bytes => tryOurs(() => readAck(bytes)),
  },
  cursor: {
    seeds: ['               1              22             333\n'],
    decode: async bytes => {
      const log = inFile('log.cursor', bytes).replace(/\.cursor$/, '')
      await using cursor = await Cursor.open(log)
      const { sequence, inode, offset } = cursor.place
      if (![sequence, inode, offset].every(number => number >= 0)) throw new Error('a place below zero')
    },
  },
  filters: text(['{"label":["a=b","c"],"status":{"running":true}}', '{"id":["1"]}'], given =>
    Filters.parse(given, ['label', 'status', 'id']).has('label'),
  ),
  requests: text(
    [
      '{"Image":"busybox","Cmd":["a"],"Env":["A=b"],"HostConfig":{"Memory":1,"PortBindings":{"80/tcp":[{"HostPort":"1"}]}}}',
      '{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/8"}]},"Options":{"a":"b"}}',
      '{"Cmd":"x","Tty":true,"ConsoleSize":[1,2],"RestartPolicy":{"Name":"no"}}',
    ],
    ...[...requests, volumeCreateRequest].map(
      request => (given: string) => decodeJson<unknown>(given, request),
    ),
  ),
  'daemon.json': {
    seeds: [
      '{"hosts":["unix:///a.sock"],"log-opts":{"max-size":"1m"},"dns":["1.1.1.1"],"default-ulimits":{"nofile":{"Name":"nofile","Hard":1,"Soft":1}}}',
      '{"runtimes":{"a":{"path":"/b"}},"registry-mirrors":["https://m"],"insecure-registries":["10.0.0.0/8"],"debug":true}',
      '{"default-address-pools":[{"base":"10.1.0.0/16","size":24}],"bip":"10.2.0.1/24","shutdown-timeout":5,"labels":["a=b"]}',
    ],
    decode: bytes => settingsOf(readConfig(['--config-file', inFile('daemon.json', bytes)])),
  },
  references: text(
    [`registry.example:5000/team/app:v1@sha256:${'a'.repeat(64)}`, 'busybox', 'a/b:c'],
    given => familiar(parseReference(given)),
    parsePlatform,
    parseHost,
  ),
  quantities: text(
    ['10m', '1h2m3.5s', '2026-01-02T03:04:05.6Z', '1700000000.123', '1.5GiB', '0-3,7', '10.1.0.0/16', '-1'],
    ...[parseSize, parseDuration, parseTimestamp, parseTime, parseCpuSet, parseCidr, parseUpstream],
  ),
  options: text(
    ['/a:/b:ro,z', 'vol:/x', 'c 1:3 rwm', 'seccomp=unconfined', 'ctrl-p,ctrl-q', 'a *:* r'],
    ...[parseBind, parseDeviceRule, parseDetachKeys],
    given => parseSecurityOptions([given]),
  ),
  'resolv.conf': text(['nameserver 1.1.1.1\nsearch a b\noptions ndots:5 edns0\n'], parseResolvConf),
  dockerfile: text(
    [
      '# syntax=a\nFROM a AS b\nRUN --mount=type=cache,target=/x <<EOF\necho $A\nEOF\nCOPY --from=b ["x", "/"]\n',
    ],
    parseDockerfile,
  ),
  builds: text(
    ['a/**/*.go', '!a', 'u=rwX,go-w', '0644', 'type==regular,id~=/x/', 'nofile=1:2,core=0', 'a=10.0.0.1'],
    given => new IgnoreMatcher(readIgnoreFile(given)).ignores('a/b'),
    given => parseGlob(given).matches('a/b'),
    parseMode,
    given => parseRowFilters([given]),
    ...['ulimit', 'add-hosts', 'platform', 'cache-imports', 'shm-size'].map(
      name => (given: string) => readAttributes({ [name]: given }),
    ),
  ),
  'build-records': text(
    ['status==error,ref~=a', '"repository!=x"', 'duration>=1h,startedAt<2026-01-02T03:04:05Z', '64m', '-1'],
    given => recordFilter([given])(openRecord),
    withoutPasswords,
    ...['memory', 'memswap', 'cpuquota', 'cpusetcpus'].map(
      name => (given: string) => readAttributes({ [name]: given }),
    ),
  ),
  'build-log': {
    seeds: [buildLog],
    decode: async bytes => {
      const { log } = await interruptedRecord(openRecord, { at: openRecord.createdAt, log: [bytes] })
      if (log.size > bytes.length) throw new Error('a log is larger than its file')
    },
  },
  'caches of builds': text(
    [
      `{"layers":[{"blob":"${someDigest}","parent":-1,"annotations":{"mediaType":"a","diffID":"${someDigest}","size":1}}],"records":[{"digest":"${someDigest}","layers":[{"layer":0,"createdAt":"2026-01-02T03:04:05Z"}],"chains":[{"layers":[0]}],"inputs":[[{"link":0}]],"berth":{"keys":["${someDigest}"],"chain":"${someDigest}","bases":[],"description":"a","milliseconds":1,"layer":null}}]}`,
    ],
    given => readCacheForm(parseDocument(Buffer.from(given), 'a cache'), 'a/b'),
  ),
  seccomp: text(
    [
      '{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}],"includes":{"caps":["CAP_SYS_ADMIN"],"minKernel":"4.8"}}]}',
    ],
    given => {
      const profile = parseSeccompProfile(given)
      if (profile) resolveSeccomp(profile, seccompContext)
    },
  ),
  registry: text(
    [
      'Bearer realm="https://auth.example/token",service="a",scope="repository:b:pull"',
      'bytes 0-9/20',
      '0-99',
      '120',
      'Wed, 21 Oct 2026 07:28:00 GMT',
      hostsToml,
    ],
    parseChallenges,
    given => parseContentRange(given),
    parseUploadRange,
    given => parseRetryAfter(given, 0),
    given => parseHostsFile(given, '/tmp', parseToml as never),
  ),
}
