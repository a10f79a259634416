import * as fs from 'node:fs';
import * as path from 'node:path';
import { run } from './programs.js';

/** A certificate authority, a server and a client certificate in `folder`, under the names that libnbd looks for. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const at = (name: string): string => path.join(folder, name);
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=authority', '-addext', 'basicConstraints=critical,CA:TRUE'],
    ...['-addext', 'keyUsage=critical,keyCertSign', '-keyout', at('ca-key.pem'), '-out', at('ca-cert.pem')],
  ]);
  await sign(at, 'server', 'serverAuth', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  await sign(at, 'client', 'clientAuth', 'subjectAltName=DNS:client');
  const read = (name: string): Buffer => fs.readFileSync(at(name));
  return {
    folder,
    authority: read('ca-cert.pem'),
    server: { certificate: read('server-cert.pem'), privateKey: read('server-key.pem') },
    client: { certificate: read('client-cert.pem'), privateKey: read('client-key.pem') },
  };
}

export interface Certificates {
  readonly folder: string;
  readonly authority: Buffer;
  readonly server: { readonly certificate: Buffer; readonly privateKey: Buffer };
  readonly client: { readonly certificate: Buffer; readonly privateKey: Buffer };
}

async function sign(at: (name: string) => string, who: string, usage: string, names: string): Promise<void> {
  fs.writeFileSync(at(`${who}.ext`), `extendedKeyUsage=${usage}\n${names}\n`);
  await run('openssl', [
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${who}`],
    ...['-keyout', at(`${who}-key.pem`), '-out', at(`${who}.csr`)],
  ]);
  await run('openssl', [
    ...['x509', '-req', '-in', at(`${who}.csr`), '-CA', at('ca-cert.pem'), '-CAkey', at('ca-key.pem')],
    ...['-CAcreateserial', '-days', '2', '-extfile', at(`${who}.ext`), '-out', at(`${who}-cert.pem`)],
  ]);
}
