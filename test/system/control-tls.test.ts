import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { temporaryFolder } from '../base/temporary-folder.js';
import { makeCertificates } from '../nbd/certificates.js';
import { DaemonProcess } from './daemon-process.js';
import { needs } from './needs.js';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

test('the control API over TLS asks for a client certificate, and gfs shows it', async (context) => {
  needs(context, 'openssl');
  const { folder } = await makeCertificates(await temporaryFolder());
  const at = (name: string): string => join(folder, name);
  const daemon = await DaemonProcess.start({
    atEnd: onTestFinished,
    flags: [
      ...['--ipc-tls-cert', at('server-cert.pem'), '--ipc-tls-key', at('server-key.pem')],
      ...['--ipc-tls-ca', at('ca-cert.pem')],
    ],
  });
  const ours = ['--tls-ca', at('ca-cert.pem'), '--tls-cert', at('client-cert.pem'), '--tls-key', at('client-key.pem')];
  expect(await daemon.gfs(...ours, 'daemon', 'status')).toMatchObject({ status: 0 });
  expect(await daemon.gfs('volume', 'create', 'data', '--size', '16M', ...ours)).toMatchObject({ status: 0 });

  const bare = await daemon.gfs('daemon', 'status');
  expect(bare.status).toBe(3);
  const stranger = ['--tls-ca', at('ca-cert.pem'), '--tls-cert', at('ca-cert.pem'), '--tls-key', at('client-key.pem')];
  expect((await daemon.gfs(...stranger, 'daemon', 'status')).status).not.toBe(0);
  const half = await daemon.gfs('--tls-ca', at('ca-cert.pem'), 'daemon', 'status');
  expect(half).toMatchObject({ status: 2 });
  expect(half.stderr).toContain('--tls-cert and --tls-key');
});

test('over the network nobody names a program that the daemon would run', async (context) => {
  needs(context, 'openssl');
  const { folder } = await makeCertificates(await temporaryFolder());
  const at = (name: string): string => join(folder, name);
  const daemon = await DaemonProcess.start({
    atEnd: onTestFinished,
    flags: [
      ...['--ipc-address', '0.0.0.0:0', '--ipc-tls-cert', at('server-cert.pem'), '--ipc-tls-key', at('server-key.pem')],
      ...['--ipc-tls-ca', at('ca-cert.pem')],
    ],
  });
  const port =
    String(daemon.log.find(({ msg }) => msg === 'daemon: ready')?.['ipc'])
      .split(':')
      .at(-1) ?? '';
  const ours = ['--tls-ca', at('ca-cert.pem'), '--tls-cert', at('client-cert.pem'), '--tls-key', at('client-key.pem')];
  const there = ['--daemon-address', `127.0.0.1:${port}`, ...ours];
  there.push('--token-file', join(daemon.storagePath, 'run/control.token'));
  const touched = join(daemon.folder, 'touched');
  const named = await daemon.gfs(
    ...there,
    'key',
    'rotate-master',
    '--provider',
    'command',
    '--key-command',
    `touch,${touched}`,
  );
  expect([named.status, named.stderr]).toEqual([1, expect.stringMatching(/takes no key command over it/)]);
  expect(existsSync(touched)).toBe(false);
  expect(await daemon.gfs(...there, 'key', 'rotate-master')).toMatchObject({ status: 0 });
});
