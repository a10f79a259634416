import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface TestCertificate {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

/** A certificate for 127.0.0.1 that signs itself, so that it is its own authority. `folder` is the test's to remove. */
export function selfSigned(folder: string, name: string): TestCertificate {
  const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
      .concat(['-keyout', key, '-out', certificate, '-subj', `/CN=${name}`])
      .concat(['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']),
    { stdio: 'ignore' },
  );
  return { certificate: readFileSync(certificate), privateKey: readFileSync(key) };
}
