import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { timestampOf } from '../../build/history/statusMessages.ts'
import type { BuildRecord, OpenRecord, RecordedBlob } from '../../build/history/types.ts'
import { parseTime } from '../../core/clock.ts'
import {
  type BuildHistoryRecord,
  BuildHistoryRecordSchema,
  type BuildResultInfoSchema,
  type DescriptorSchema,
} from '../../wire/buildkit/control_pb.ts'

/** Records of builds as BuildKit's clients read them. */

type DescriptorMessage = MessageInitShape<typeof DescriptorSchema>

const descriptorOf = ({ mediaType, digest, size }: RecordedBlob): DescriptorMessage => ({
  mediaType,
  digest,
  size: BigInt(size),
})

const isTexts = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' && value !== null && Object.values(value).every(text => typeof text === 'string')

/** What was exported, where it is an image of the store with a manifest. */
const resultOf = (response: BuildRecord['response']): DescriptorMessage | undefined => {
  const told = response['containerimage.descriptor']
  if (!told) return undefined
  const { mediaType, digest, size, annotations } = JSON.parse(Buffer.from(told, 'base64').toString())
  return { mediaType, digest, size: BigInt(size), ...(isTexts(annotations) ? { annotations } : {}) }
}

const resultInfo = (
  response: BuildRecord['response'],
): { result?: MessageInitShape<typeof BuildResultInfoSchema> } => {
  const descriptor = resultOf(response)
  return descriptor ? { result: { resultDeprecated: descriptor, results: { '0': descriptor } } } : {}
}

const endOf = (record: BuildRecord): MessageInitShape<typeof BuildHistoryRecordSchema> => ({
  completedAt: timestampOf(parseTime(record.completedAt) ?? 0n),
  ...(record.error ? { error: { code: record.error.code, message: record.error.message } } : {}),
  ...(record.error?.details ? { externalError: descriptorOf(record.error.details) } : {}),
  logs: descriptorOf(record.log),
  exporterResponse: record.response,
  ...resultInfo(record.response),
})

export const recordMessage = (record: BuildRecord | OpenRecord): BuildHistoryRecord =>
  create(BuildHistoryRecordSchema, {
    ref: record.ref,
    frontend: record.frontend,
    frontendAttrs: record.attributes,
    exporters: record.exporters.map(({ type, attributes }) => ({ type, attrs: attributes })),
    createdAt: timestampOf(parseTime(record.createdAt) ?? 0n),
    pinned: record.pinned,
    generation: record.generation,
    numTotalSteps: record.counts.total,
    numCompletedSteps: record.counts.completed,
    numCachedSteps: record.counts.cached,
    numWarnings: record.counts.warnings,
    ...('completedAt' in record ? endOf(record) : {}),
  })
