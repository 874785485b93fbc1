import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { timestampOf } from '../../build/history/statusMessages.ts'
import type { Platform } from '../../oci/platform.ts'
import { type UsageRecord, UsageRecordSchema } from '../../wire/buildkit/control_pb.ts'
import type { Platform as PlatformMessage, PlatformSchema } from '../../wire/buildkit/ops_pb.ts'
import {
  type BuildkitVersion,
  BuildkitVersionSchema,
  type WorkerRecord,
  WorkerRecordSchema,
} from '../../wire/buildkit/worker_pb.ts'
import type { Builder, Usage } from './types.ts'

/** The builder and its cache, as messages. */

export const versionMessage = ({ version }: Builder): BuildkitVersion =>
  create(BuildkitVersionSchema, version)

const platformMessage = (platform: Platform): MessageInitShape<typeof PlatformSchema> => ({
  os: platform.os,
  architecture: platform.architecture,
  variant: platform.variant ?? '',
  osVersion: platform['os.version'] ?? '',
})

/** Undefined where the message says nothing. */
export const platformOf = (message: PlatformMessage | undefined): Platform | undefined =>
  message && message.os !== ''
    ? {
        os: message.os,
        architecture: message.architecture,
        ...(message.variant === '' ? {} : { variant: message.variant }),
        ...(message.osVersion === '' ? {} : { 'os.version': message.osVersion }),
      }
    : undefined

export const workerMessages = (builder: Builder): WorkerRecord[] =>
  builder.workers().map(({ id, labels, platforms, collection }) =>
    create(WorkerRecordSchema, {
      id,
      labels,
      platforms: platforms.map(platformMessage),
      gcPolicy: collection,
      buildkitVersion: versionMessage(builder),
    }),
  )

export const usageMessage = (usage: Usage): UsageRecord =>
  create(UsageRecordSchema, {
    id: usage.id,
    mutable: usage.isMutable,
    inUse: usage.isInUse,
    shared: usage.isShared,
    size: usage.size,
    parent: usage.parents[0] ?? '',
    parents: usage.parents,
    createdAt: timestampOf(usage.createdAt),
    ...(usage.lastUsedAt === undefined ? {} : { lastUsedAt: timestampOf(usage.lastUsedAt) }),
    usageCount: usage.usageCount,
    description: usage.description,
    recordType: usage.type,
  })
