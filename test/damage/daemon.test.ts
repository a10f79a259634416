/** A real daemon over a damaged storage path: it serves what is whole, names what is not, and never ends by itself. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { decodeRecordHeader, looksLikeRecord, RecordKind, type RecordHeader } from '../../src/store/journal/record.js';
import { decodeSegmentHeader } from '../../src/store/journal/segment-header.js';
import { DaemonProcess } from '../system/daemon-process.js';
import { PipelinedClient } from '../system/pipelined-client.js';

// Many processes are started here, and a busy machine must not decide a test.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

const MIB = 1 << 20;
const BLOCK_BYTES = 4096;
const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const EIO = 5;

const checksums = new NativeChecksums();

async function connect(daemon: DaemonProcess, name: string): Promise<PipelinedClient> {
  const client = await PipelinedClient.connect(daemon.socketPath, name);
  onTestFinished(() => client.close());
  return client;
}

async function write(client: PipelinedClient, block: number, payload: Buffer): Promise<void> {
  expect((await client.send(WRITE, block * BLOCK_BYTES, { payload })).outcome).toBe(0);
  expect((await client.send(FLUSH, 0, { length: 0 })).outcome).toBe(0);
}

interface FoundRecord {
  readonly path: string;
  readonly offset: number;
  readonly header: RecordHeader;
}

/** The WRITE records of a journal, in its order. */
function writesIn(storagePath: string): FoundRecord[] {
  const crc32c = checksums.crc32c.bind(checksums);
  const found: FoundRecord[] = [];
  for (const name of readdirSync(join(storagePath, 'journal'))) {
    const path = join(storagePath, 'journal', name);
    const bytes = readFileSync(path);
    const segment = decodeSegmentHeader(bytes.subarray(0, 4096), crc32c);
    if (segment === null || segment === 'newer') continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const check = { ...segment, crc32c };
    for (let offset = 4096; offset + 96 < bytes.length; offset += 64) {
      if (!looksLikeRecord(view, offset, check)) continue;
      const header = decodeRecordHeader(bytes, offset, bytes.length - offset, check);
      if (header?.kind === RecordKind.WRITE) found.push({ path, offset, header });
    }
  }
  return found.sort((one, other) => one.header.sequence - other.header.sequence);
}

function flipAt(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset] ^= 0x10;
  writeFileSync(path, bytes);
}

test('one volume with damaged blocks, one refused, and the rest is served, start after start', async () => {
  const daemon = await DaemonProcess.start({
    atEnd: onTestFinished,
    config: { persistence: ['checkpoint_interval = "1h"'] },
  });
  const names = ['fine', 'hurt', 'lost'];
  for (const name of names) await daemon.volume(name, 16 * MIB);
  const content = new Map(names.map((name) => [name, randomBytes(3 * BLOCK_BYTES)]));
  const clients = new Map<string, PipelinedClient>();
  for (const name of names) clients.set(name, await connect(daemon, name));
  const put = (name: string, block: number): Promise<void> =>
    write(
      clients.get(name) as PipelinedClient,
      block,
      (content.get(name) as Buffer).subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES),
    );
  // Behind the record that will be lost each volume has one more: it shows what the loss did not touch.
  for (const block of [0, 1, 2]) for (const name of names) await put(name, block);
  await daemon.kill9();

  const writes = writesIn(daemon.storagePath);
  const layers = [...new Set(writes.map(({ header }) => header.layer))];
  expect(layers).toHaveLength(3);
  const [, hurt, lost] = layers.map((layer) => writes.filter(({ header }) => header.layer === layer));
  expect([hurt.length, lost.length]).toEqual([3, 3]);
  // A block's ciphertext, and a record's header.
  flipAt(hurt[1].path, hurt[1].offset + hurt[1].header.payloadOffset + 1000);
  flipAt(lost[1].path, lost[1].offset + 24);

  for (const end of ['kill', 'stop'] as const) {
    await daemon.start();
    const listed = await daemon.json('volume', 'list');
    const states = new Map(listed.map((row: { name: string; state: string }) => [row.name, row.state]));
    expect(Object.fromEntries(states)).toEqual({ fine: 'available', hurt: 'available', lost: 'damaged' });
    const refused = await daemon.gfs('volume', 'get', 'lost', '-o', 'json');
    expect(refused.status).toBe(0);
    expect(JSON.parse(refused.stdout).stateReason).toMatch(/^records \d+ to \d+ of it are lost in damaged journal$/);
    await expect(PipelinedClient.connect(daemon.socketPath, 'lost')).rejects.toThrow();

    const fine = await connect(daemon, 'fine');
    expect((await fine.read(0, 3 * BLOCK_BYTES)).equals(content.get('fine') as Buffer)).toBe(true);
    const client = await connect(daemon, 'hurt');
    for (const block of [0, 1, 2]) {
      const { outcome, data } = await client.send(READ, block * BLOCK_BYTES, { length: BLOCK_BYTES });
      expect(outcome, `block ${String(block)}`).toBe(block === 1 ? EIO : 0);
      const expected = (content.get('hurt') as Buffer).subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
      if (block !== 1) expect(data.equals(expected)).toBe(true);
    }
    const status = await daemon.json('status');
    expect(status.healthy).toBe(false);
    expect(JSON.stringify(status.problems)).toContain('lost');
    expect((await daemon.gfs('daemon', 'status')).status).toBe(0);
    // A healthy volume takes new writes, which the next start has.
    const next = randomBytes(BLOCK_BYTES);
    next.copy(content.get('fine') as Buffer, 0);
    await write(fine, 0, next);
    expect(daemon.runs).toBe(true);
    if (end === 'kill') await daemon.kill9();
    else expect(await daemon.stop()).toBe(0);
  }
});

test('a damaged record refuses its volume, a damaged database refuses the start in one line, each time', async () => {
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  await daemon.volume('fine', 16 * MIB);
  await daemon.volume('unlucky', 16 * MIB);
  const content = randomBytes(BLOCK_BYTES);
  await write(await connect(daemon, 'fine'), 0, content);
  expect(await daemon.stop()).toBe(0);

  // Every version of the row of that volume that the database holds, so also the one that counts.
  const database = join(daemon.storagePath, 'meta/data.mdb');
  const bytes = readFileSync(database);
  const row = Buffer.from('"name":"unlucky"');
  for (let at = bytes.indexOf(row); at >= 0; at = bytes.indexOf(row, at + 1)) bytes[at + 9] ^= 1;
  writeFileSync(database, bytes);
  for (let start = 0; start < 2; start += 1) {
    await daemon.start();
    expect((await daemon.json('volume', 'get', 'fine')).state).toBe('available');
    expect((await (await connect(daemon, 'fine')).read(0, BLOCK_BYTES)).equals(content)).toBe(true);
    expect((await daemon.gfs('volume', 'get', 'unlucky')).status).toBeGreaterThan(0);
    const { healthy, problems } = await daemon.json('status');
    expect(healthy).toBe(false);
    expect(JSON.stringify(problems)).toMatch(/the record of a volume cannot be read.*checksum/);
    expect(await daemon.stop()).toBe(0);
  }

  const whole = readFileSync(database);
  const metaPath = join(daemon.storagePath, 'meta');
  const damages: [string, (bytes: Buffer) => Buffer][] = [
    ['both meta pages zeroed', (copy) => copy.fill(0, 0, 8192)],
    ['all but the meta pages zeroed', (copy) => copy.fill(0, 8192)],
    ['cut off', (copy) => copy.subarray(0, 8192)],
    ['empty', (copy) => copy.subarray(0, 0)],
    ['something else', (copy) => Buffer.from(randomBytes(copy.length))],
  ];
  for (const [what, damage] of damages) {
    writeFileSync(database, damage(Buffer.from(whole)));
    // The same each time it is tried.
    for (let start = 0; start < (what === damages[0][0] ? 2 : 1); start += 1) {
      const { status, output } = await daemon.startRefused();
      expect(status, what).toBe(1);
      const said = output.split('\n').filter((line) => line.startsWith('gfs: '));
      expect(said, what).toHaveLength(1);
      expect(said[0], what).toContain(metaPath);
      expect(said[0], what).toMatch(/is damaged \(.+\); restore the newest copy of that folder/);
    }
  }
  writeFileSync(database, whole);
  await daemon.start();
  expect((await (await connect(daemon, 'fine')).read(0, BLOCK_BYTES)).equals(content)).toBe(true);
  expect(await daemon.stop()).toBe(0);
});
