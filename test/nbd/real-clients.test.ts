import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { SeededRandom } from '../base/seeded-random.js';
import { missing, run, sayAloud } from './programs.js';
import { NOTHING_HELD, RECEIVE_PATHS, TestServer } from './test-server.js';

const SIZE = 32 << 20;
/** The distribution's own: its package of libnbd is not seen by another Python that may come first in the path. */
const PYTHON = '/usr/bin/python3';

/** Says aloud why a program's tests are skipped. */
function skipsWithout(name: string, args?: readonly string[]): boolean {
  const reason = missing(name, args);
  if (reason !== '') sayAloud(`tests with ${name} (${reason})`);
  return reason !== '';
}

const withoutNbdinfo = skipsWithout('nbdinfo');
const withoutNbdcopy = skipsWithout('nbdcopy');
const withoutPython = skipsWithout(PYTHON, ['-c', 'import nbd']);
const withoutQemu = skipsWithout('qemu-img');
const withoutQemuIo = skipsWithout('qemu-io');
const withoutFio = skipsWithout('sh', ['-c', 'fio --enghelp | grep -qw nbd']);

describe.each(RECEIVE_PATHS)('bytes $path', ({ copying }) => {
  async function start(
    device = new MemoryDevice({ sizeBytes: SIZE }),
  ): Promise<{ server: TestServer; device: MemoryDevice }> {
    const server = await TestServer.start({ exports: { v: { device, description: 'a volume' } }, copying });
    return { server, device };
  }

  /** An image with data, holes and an odd end. */
  function image(folder: string): { file: string; bytes: Buffer } {
    const bytes = Buffer.alloc(SIZE);
    Buffer.from(new SeededRandom(5).bytes(1 << 20)).copy(bytes, 0);
    Buffer.from(new SeededRandom(6).bytes(3_000_001)).copy(bytes, 9 << 20);
    bytes.write('the end', SIZE - 7);
    const file = path.join(folder, 'image');
    fs.writeFileSync(file, bytes);
    return { file, bytes };
  }

  it.skipIf(withoutNbdinfo)('nbdinfo sees everything that is offered', async () => {
    const { server } = await start();
    const info = JSON.parse(await run('nbdinfo', ['--json', server.uri('v')])) as Record<string, unknown>;
    expect(info).toMatchObject({
      protocol: 'newstyle-fixed',
      structured: true,
      exports: [
        {
          'export-name': 'v',
          description: 'a volume',
          contexts: ['base:allocation'],
          is_read_only: false,
          can_cache: true,
          can_df: true,
          can_fast_zero: true,
          can_flush: true,
          can_fua: true,
          can_multi_conn: true,
          can_trim: true,
          can_zero: true,
          block_size_minimum: 1,
          block_size_preferred: 4096,
          block_size_maximum: 32 << 20,
          'export-size': SIZE,
        },
      ],
    });
    const list = JSON.parse(await run('nbdinfo', ['--list', '--json', server.uri('')])) as { exports: unknown[] };
    expect(list.exports.length).toBe(1);
    await expect(run('nbdinfo', [server.uri('nothing')])).rejects.toThrow();
  });

  it.skipIf(withoutNbdcopy)('nbdcopy in and out, over several connections', async () => {
    const { server } = await start();
    const { file, bytes } = image(server.folder);
    const back = path.join(server.folder, 'back');
    await run('nbdcopy', ['--connections=4', '--flush', file, server.uri('v')]);
    await run('nbdcopy', ['--connections=4', '--requests=128', server.uri('v'), back]);
    expect(fs.readFileSync(back).equals(bytes)).toBe(true);
    await server.until(() => server.opened === server.closed);
    expect(server.server.usage()).toEqual(NOTHING_HELD);
  });

  it.skipIf(withoutPython)('libnbd for Python: every command and its flags', async () => {
    const { server, device } = await start(new MemoryDevice({ sizeBytes: SIZE, fastZero: false }));
    const script = path.join(import.meta.dirname, 'libnbd-commands.py');
    expect((await run(PYTHON, [script, server.uri('v'), String(SIZE)])).trim()).toBe('all commands behaved');
    expect(device.allocatedBytes).toBeGreaterThan(0);
  });

  it.skipIf(withoutQemu)('qemu-img converts in, compares, and maps holes', async () => {
    const { server, device } = await start();
    const { file } = image(server.folder);
    await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', file, server.uri('v')]);
    expect(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, server.uri('v')])).toContain('identical');
    expect(device.allocatedBytes).toBeLessThan(SIZE / 4);
    const map = JSON.parse(await run('qemu-img', ['map', '--output=json', '-f', 'raw', server.uri('v')])) as {
      start: number;
      data: boolean;
    }[];
    expect(map[0]).toMatchObject({ start: 0, data: true });
    expect(map.some((extent) => !extent.data)).toBe(true);
  });

  it.skipIf(withoutQemuIo)('qemu-io writes and verifies patterns at odd places', async () => {
    const { server } = await start();
    const commands = [
      'write -P 0x5a 0 64k',
      'write -P 0xa5 513 777',
      'write -f -P 0x11 1M 512k',
      'write -z 65536 64k',
      'write -z -u 1M 4k',
      'discard 2M 1M',
      'flush',
      'read -v -P 0xa5 513 777',
      'read -P 0x5a 2k 62k',
      'read -P 0 65536 64k',
      'read -P 0 1M 4k',
      'read -P 0x11 1052672 508k',
      'aio_write -P 0x77 8M 1M',
      'aio_write -P 0x78 9M 1M',
      'aio_flush',
      'read -P 0x77 8M 1M',
      'read -P 0x78 9M 1M',
    ];
    const args = commands.flatMap((command) => ['-c', command]);
    const output = await run('qemu-io', ['-f', 'raw', ...args, server.uri('v')]);
    expect(output).not.toMatch(/failed|Pattern verification/i);
    expect(output.match(/^(?:read|wrote) /gm)?.length).toBe(commands.length - 3);
  });

  it.skipIf(withoutFio)('fio verifies what it wrote, at depth', async () => {
    const { server } = await start();
    const output = await run('fio', [
      ...['--name=verify', '--ioengine=nbd', `--uri=${server.uri('v')}`, '--rw=randwrite', '--bsrange=512-128k'],
      ...['--bs_unaligned=1', '--blockalign=512', '--iodepth=32', '--size=16M', '--verify=crc32c', '--randseed=7'],
      ...['--verify_fatal=1', '--output-format=terse', `--aux-path=${server.folder}`],
    ]);
    // Terse version 3: the fifth field is the error.
    expect(output.trim().split('\n').at(-1)!.split(';')[4]).toBe('0');
    expect(server.statistics.operations[0]).toBeGreaterThan(100);
  });
});
