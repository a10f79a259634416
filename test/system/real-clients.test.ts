import { createHash } from 'node:crypto';
import { createReadStream, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { SeededRandom } from '../base/seeded-random.js';
import { run } from '../nbd/programs.js';
import { DaemonProcess } from './daemon-process.js';
import { needs, PYTHON } from './needs.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;
const SIZE = 48 * MIB;

let daemon: DaemonProcess;
const cleanUps: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});
let image: string;
let imageHash: string;
/** What the image really holds, for what a thin volume may take. */
const IMAGE_DATA_BYTES = 12 * MIB;

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
  return hash.digest('hex');
}

beforeAll(async () => {
  daemon = await DaemonProcess.start({ atEnd: (cleanUp) => cleanUps.push(cleanUp) });
  // Data, long holes, short holes, and something in the very last byte.
  const random = new SeededRandom(21);
  const bytes = Buffer.alloc(SIZE);
  Buffer.from(random.bytes(4 * MIB)).copy(bytes, 0);
  Buffer.from(random.bytes(4 * MIB + 4097)).copy(bytes, 20 * MIB + 512);
  for (let at = 32 * MIB; at < 34 * MIB; at += 16_384) bytes.write('short runs', at);
  bytes[SIZE - 1] = 0x5a;
  image = join(daemon.folder, 'image.raw');
  writeFileSync(image, bytes);
  imageHash = await sha256(image);
});

describe.each([
  { kind: 'encrypted', storageClass: 'encrypted-storage' },
  { kind: 'plain', storageClass: 'fast-local-ssd' },
])('an $kind volume', ({ kind, storageClass }) => {
  let made = 0;

  /** A fresh exported volume: its name, and both of its addresses. */
  async function freshVolume(): Promise<{ name: string; unix: string; tcp: string }> {
    const name = `${kind}-${String((made += 1))}`;
    await daemon.volume(name, SIZE, storageClass);
    const exported = (await daemon.client.getVolume({ volume: name, retained: false })).export!;
    return { name, unix: exported.socketUri, tcp: exported.uri };
  }

  async function allocatedBytes(name: string): Promise<number> {
    return (await daemon.client.getVolume({ volume: name, retained: false })).allocatedBytes;
  }

  test('nbdinfo tells what is offered', async (context) => {
    needs(context, 'nbdinfo');
    const { name, unix, tcp } = await freshVolume();
    for (const uri of [unix, tcp]) {
      expect(JSON.parse(await run('nbdinfo', ['--json', uri]))).toMatchObject({
        protocol: 'newstyle-fixed',
        structured: true,
        exports: [
          {
            'export-name': name,
            'export-size': SIZE,
            contexts: ['base:allocation'],
            is_read_only: false,
            can_fast_zero: expect.any(Boolean) as boolean,
            can_flush: true,
            can_fua: true,
            can_multi_conn: true,
            can_trim: true,
            can_zero: true,
            block_size_preferred: 4096,
          },
        ],
      });
    }
    const list = JSON.parse(await run('nbdinfo', ['--list', '--json', tcp.replace(/[^/]*$/, '')])) as {
      exports: { 'export-name': string }[];
    };
    expect(list.exports.map((each) => each['export-name'])).toContain(name);
    expect(await allocatedBytes(name)).toBe(0);
  });

  test('nbdcopy in and out over several connections, and holes take no space', async (context) => {
    needs(context, 'nbdcopy');
    const { name, unix, tcp } = await freshVolume();
    const back = join(daemon.folder, `${name}.raw`);
    await run('nbdcopy', ['--connections=4', '--flush', image, unix]);
    expect(await allocatedBytes(name)).toBeLessThan(IMAGE_DATA_BYTES);
    await run('nbdcopy', ['--connections=4', tcp, back]);
    expect(await sha256(back)).toBe(imageHash);
  });

  test('qemu-img converts raw and qcow2 in and out, compares, and finds the holes', async (context) => {
    needs(context, 'qemu-img');
    const { name, unix, tcp } = await freshVolume();
    const qcow = join(daemon.folder, `${name}.qcow2`);
    const back = join(daemon.folder, `${name}.raw`);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', image, qcow]);
    await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow, unix]);
    expect(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, tcp])).toContain('identical');
    expect(await allocatedBytes(name)).toBeLessThan(IMAGE_DATA_BYTES);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', tcp, qcow]);
    await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', qcow, back]);
    expect(await sha256(back)).toBe(imageHash);
    const map = JSON.parse(await run('qemu-img', ['map', '--output=json', '-f', 'raw', unix])) as { data: boolean }[];
    expect(map.some((extent) => !extent.data)).toBe(true);

    // A volume may hold a qcow2 file as such.
    await run('qemu-img', ['create', '-f', 'qcow2', unix, '16M']);
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x42 1M 2M', '-c', 'flush', unix]);
    expect(await run('qemu-img', ['check', '-f', 'qcow2', tcp])).toContain('No errors');
    await run('qemu-io', ['-f', 'qcow2', '-c', 'read -P 0x42 1M 2M', '-c', 'read -P 0 4M 1M', tcp]);
  });

  test('qemu-io writes, zeroes, discards and verifies patterns at odd places', async (context) => {
    needs(context, 'qemu-io');
    const { unix } = await freshVolume();
    const commands = [
      ...['write -P 0x5a 0 64k', 'write -P 0xa5 513 777', 'write -f -P 0x11 1M 512k', 'write -z 65536 64k'],
      ...['write -z -u 1M 4k', 'discard 2M 1M', 'flush', 'read -P 0xa5 513 777', 'read -P 0x5a 2k 62k'],
      ...['read -P 0 65536 64k', 'read -P 0 1M 4k', 'read -P 0x11 1052672 508k', 'aio_write -P 0x77 8M 1M'],
      ...['aio_write -P 0x78 9M 1M', 'aio_flush', 'read -P 0x77 8M 1M', 'read -P 0x78 9M 1M'],
    ];
    const args = commands.flatMap((command) => ['-c', command]);
    const output = await run('qemu-io', ['-f', 'raw', ...args, unix]);
    expect(output).not.toContain('failed');
  });

  test('fio verifies what it wrote', async (context) => {
    needs(context, 'fio with NBD');
    const { name, unix } = await freshVolume();
    const output = await run('fio', [
      ...['--name=verify', '--ioengine=nbd', `--uri=${unix}`, '--rw=randwrite', '--bsrange=512-128k'],
      ...['--bs_unaligned=1', '--blockalign=512', '--iodepth=32', '--size=24M', '--verify=crc32c', '--randseed=7'],
      ...['--verify_fatal=1', '--fsync=64', '--output-format=terse', `--aux-path=${daemon.folder}`],
    ]);
    // Terse version 3: the fifth field is the error.
    expect(output.trim().split('\n').at(-1)!.split(';')[4]).toBe('0');
    expect(await allocatedBytes(name)).toBeGreaterThan(12 * MIB);
  });

  test('libnbd for Python: every command, its flags, and several connections to one volume', async (context) => {
    needs(context, 'libnbd for Python');
    const { unix, tcp } = await freshVolume();
    const script = join(import.meta.dirname, 'libnbd-volume.py');
    expect((await run(PYTHON, [script, unix, tcp, String(SIZE)])).trim()).toBe('all behaved');
  });
});

test('an image survives beside its neighbours when the daemon is killed and started again', async (context) => {
  needs(context, 'nbdcopy');
  const names = ['left', 'right'];
  for (const name of names) await daemon.volume(name, SIZE);
  await Promise.all(names.map((name) => run('nbdcopy', [image, daemon.uri(name)])));
  await daemon.restart();
  for (const name of names) {
    const back = join(daemon.folder, `${name}.raw`);
    await run('nbdcopy', [daemon.uri(name), back]);
    expect(await sha256(back)).toBe(imageHash);
  }
});
