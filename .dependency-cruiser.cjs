/** The layers of docs/architecture.md: a folder may import itself and what is listed, nothing else. */
const layers = {
  core: [],
  oci: ['core'],
  wire: ['core', 'oci'],
  linux: ['core'],
  archive: ['core', 'oci', 'linux'],
  store: ['core', 'oci', 'linux', 'archive'],
  runtime: ['core', 'oci', 'linux'],
  net: ['core', 'linux'],
  engine: ['core', 'oci', 'wire', 'linux', 'archive', 'store', 'runtime', 'net'],
  api: ['core', 'oci', 'wire', 'archive', 'engine'],
  daemon: ['core', 'oci', 'wire', 'linux', 'archive', 'store', 'runtime', 'net', 'engine', 'api'],
}

const isolated = Object.entries(layers).map(([layer, below]) => ({
  name: `layer-${layer}`,
  severity: 'error',
  from: { path: `^src/${layer}/` },
  to: { path: '^src/', pathNot: `^src/(${[layer, ...below].join('|')})/` },
}))

module.exports = {
  forbidden: [
    ...isolated,
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'pure-layers', severity: 'error', from: { path: '^src/(oci|wire)/', pathNot: '\\.test\\.ts$' }, to: { dependencyTypes: ['core'], path: '^(fs|net|http|child_process|worker_threads)' } },
    { name: 'no-dev-dependency', severity: 'error', from: { path: '^src/', pathNot: '\\.test\\.ts$' }, to: { dependencyTypes: ['npm-dev'] } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.cjs', '.json'] },
  },
}
