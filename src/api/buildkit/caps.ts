import { create } from '@bufbuild/protobuf'
import { type APICap, APICapSchema } from '../../wire/buildkit/caps_pb.ts'

/** What is offered, by the names under which BuildKit's clients look for it. */

const gateway = [
  ...['solve.base', 'resolveimage', 'resolveimage.resolvemode', 'readfile', 'return', 'returnmap'],
  ...['readdir', 'statfile', 'importcaches', 'proto.refarray', 'reference.output', 'frontend.inputs'],
  ...['gateway.solve.metadata', 'frontend.caps', 'gateway.solve.evaluate', 'gateway.evaluate'],
  ...['gateway.warnings', 'source.metaresolver', 'gateway.exec', 'gateway.exec.extrahosts'],
  ...['gateway.exec.secretenv', 'gateway.exec.signals', 'gateway.exec.filesystem'],
]

const graph = [
  ...['source.image', 'source.image.resolvemode', 'source.image.layerlimit', 'source.local'],
  ...['source.local.unique', 'source.local.sessionid', 'source.local.includepatterns'],
  ...['source.local.followpaths', 'source.local.excludepatterns', 'source.local.sharedkeyhint'],
  ...['source.local.differ', 'source.git', 'source.git.keepgitdir', 'source.git.fullurl'],
  ...['source.git.httpauth', 'source.git.knownsshhosts', 'source.git.mountsshsock', 'source.git.subdir'],
  ...['source.git.checksum', 'source.http', 'source.http.checksum', 'source.http.perm'],
  ...['soruce.http.uidgid', 'source.ocilayout', 'exec.meta.base', 'exec.meta.cgroup.parent'],
  ...['exec.meta.network', 'exec.meta.proxyenv', 'exec.meta.security', 'exec.meta.setsdefaultpath'],
  ...['exec.meta.ulimit', 'exec.mount.bind', 'exec.mount.bind.readwrite-nooutput', 'exec.mount.cache'],
  ...['exec.mount.cache.sharing', 'exec.mount.selector', 'exec.mount.tmpfs', 'exec.mount.tmpfs.size'],
  ...['exec.mount.secret', 'exec.mount.ssh', 'exec.cgroup', 'exec.secretenv', 'file.base'],
  ...['file.rm.wildcard', 'file.copy.includeexcludepatterns', 'file.rm.nofollowsymlink'],
  ...['file.copy.alwaysreplaceexistingdestpaths', 'file.copy.modestring', 'constraints', 'platform'],
  ...['meta.ignorecache', 'meta.description', 'meta.exportcache', 'mergeop'],
  ...['exporter.image.annotations', 'exporter.image.attestations', 'exporter.sourcedateepoch'],
  ...['exporter.multiple', 'gc.freespacefilter'],
]

const messages = (names: readonly string[]): APICap[] =>
  names.toSorted().map(id => create(APICapSchema, { id, enabled: true }))

export const gatewayCaps = messages(gateway)
export const graphCaps = messages(graph)
