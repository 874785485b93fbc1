import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** An authority of the tests' own, a server's certificate for loopback, `s.example` and more, and a client's. PEM texts. */
export interface TestCertificates {
  authority: string
  server: { cert: string; key: string }
  client: { cert: string; key: string }
}

export const makeCertificates = (...more: string[]): TestCertificates => {
  const folder = mkdtempSync(path.join(tmpdir(), 'berth-registry-ca-'))
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  }
  const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8')
  const signed = (name: string, extension: string): { cert: string; key: string } => {
    writeFileSync(path.join(folder, `${name}.ext`), extension)
    openssl(
      ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`],
    )
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.crt`],
    )
    return { cert: read(`${name}.crt`), key: read(`${name}.key`) }
  }
  try {
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', '/CN=Test authority', '-keyout', 'ca.key', '-out', 'ca.crt'],
    )
    return {
      server: signed(
        'server',
        `subjectAltName=${['DNS:localhost', 'DNS:s.example', 'IP:127.0.0.1', ...more].join()}`,
      ),
      client: signed('client', 'extendedKeyUsage=clientAuth'),
      authority: read('ca.crt'),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
