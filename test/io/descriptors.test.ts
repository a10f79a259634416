import { closeSync, readFileSync } from 'node:fs';
import { createServer, Socket, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { duplicateDescriptor } from '../../src/io/descriptors.js';

/** Octal O_CLOEXEC as /proc/self/fdinfo shows it. */
const CLOSE_ON_EXEC = 0o2000000;

describe('duplicateDescriptor', () => {
  it('gives a descriptor of its own, closed on exec', () => {
    const copy = duplicateDescriptor(1);
    try {
      expect(copy).toBeGreaterThan(2);
      const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${String(copy)}`, 'utf8'))?.[1] ?? '';
      expect(parseInt(flags, 8) & CLOSE_ON_EXEC).toBe(CLOSE_ON_EXEC);
    } finally {
      closeSync(copy);
    }
  });

  it('says which descriptor is not open', () => {
    expect(() => duplicateDescriptor(999_999)).toThrow(/descriptor 999999: EBADF/);
  });

  it('moves an accepted connection into a socket of its own', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = new Socket().connect((server.address() as AddressInfo).port, '127.0.0.1');
    try {
      const [accepted] = (await once(server, 'connection')) as [Socket];
      const handle = (accepted as unknown as { _handle: { fd: number } })._handle;
      const moved = new Socket({ fd: duplicateDescriptor(handle.fd), readable: true, writable: true });
      accepted.destroy();
      client.write('over');
      const [bytes] = (await once(moved, 'data')) as [Buffer];
      expect(bytes.toString()).toBe('over');
      moved.destroy();
    } finally {
      client.destroy();
      server.close();
    }
  });
});
