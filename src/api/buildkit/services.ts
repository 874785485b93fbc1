import type { ConnectRouter } from '@connectrpc/connect'
import { Content } from '../../wire/buildkit/content_pb.ts'
import { Control } from '../../wire/buildkit/control_pb.ts'
import { LLBBridge } from '../../wire/buildkit/gateway_pb.ts'
import { Health, HealthCheckResponse_ServingStatus } from '../../wire/buildkit/health_pb.ts'
import { bridgeService } from './bridge.ts'
import { Builds } from './builds.ts'
import { contentService } from './content.ts'
import { controlService } from './control.ts'
import type { Builder } from './types.ts'

/** All that is served to BuildKit's clients, for `createGrpcDoor`. */
export const buildkitServices = (builder: Builder): ((router: ConnectRouter) => void) => {
  const services = { builder, builds: new Builds() }
  return router => {
    router.service(Control, controlService(services))
    router.service(LLBBridge, bridgeService(services))
    router.service(Content, contentService(builder))
    router.service(Health, { check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }) })
  }
}
