import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatOfName, imageKind } from '../../src/cli/images/image-format.js';
import { dataRuns } from '../../src/cli/images/zero-runs.js';
import { FakeDaemon } from './fake-daemon.js';
import { runWith } from './run-gfs.js';

const MIB = 1024 * 1024;
let daemon: FakeDaemon;
let folder: string;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
  folder = mkdtempSync(join(tmpdir(), 'gfs-images-'));
});

afterEach(() => {
  daemon.close();
  rmSync(folder, { recursive: true, force: true });
});

function image(name: string, sizeBytes: number, pieces: readonly (readonly [number, number])[]): Buffer {
  const content = Buffer.alloc(sizeBytes);
  for (const [offset, length] of pieces) randomBytes(length).copy(content, offset);
  writeFileSync(join(folder, name), content);
  return content;
}

const here = (...argv: string[]) => runWith(daemon, argv, { workingFolder: folder });

describe('raw images', () => {
  test.each([
    ['one block', 4096, [[0, 4096]]],
    [
      'zeros between data',
      9 * MIB,
      [
        [0, 4096],
        [4 * MIB + 5, 70_000],
        [9 * MIB - 1, 1],
      ],
    ],
    ['only zeros', 3 * MIB, []],
    ['more than flow control holds', 40 * MIB, [[0, 40 * MIB]]],
  ] as [string, number, [number, number][]][])('%s come back as they went in', async (_name, sizeBytes, pieces) => {
    const content = image('in.raw', sizeBytes, pieces);
    const imported = await here('volume', 'import', 'in.raw', 'data', '-o', 'json');
    expect(imported.stderr).toBe('');
    expect(JSON.parse(imported.stdout)).toMatchObject({ name: 'data', sizeBytes });
    expect(daemon.named('data')?.content.equals(content)).toBe(true);
    const exported = await here('volume', 'export-image', 'data', 'out.raw');
    expect(exported.stderr).toBe('');
    expect(readFileSync(join(folder, 'out.raw')).equals(content)).toBe(true);
    expect(statSync(join(folder, 'out.raw')).mode & 0o777).toBe(0o600);
  });

  test('zeros are neither sent nor stored', async () => {
    image('in.raw', 64 * MIB, [[32 * MIB, 4096]]);
    await here('volume', 'import', 'in.raw', 'data');
    expect(daemon.importedBytes).toBe(4096);
    await here('volume', 'export-image', 'data', 'out.raw');
    const { size, blocks } = statSync(join(folder, 'out.raw'));
    expect(size).toBe(64 * MIB);
    expect(blocks * 512).toBeLessThan(MIB);
  });

  test('a sparse file without any data is imported without reading it', async () => {
    writeFileSync(join(folder, 'in.raw'), '');
    truncateSync(join(folder, 'in.raw'), 256 * MIB);
    expect((await here('volume', 'import', 'in.raw', 'data')).status).toBe(0);
    expect(daemon.importedBytes).toBe(0);
    expect(daemon.named('data')?.volume.sizeBytes).toBe(256 * MIB);
  });

  test.each([1, 4095, 4097, MIB + 513])(
    'an image of %i bytes is followed by zeros up to a block',
    async (sizeBytes) => {
      const content = image('in.raw', sizeBytes, [[0, sizeBytes]]);
      const { status, stderr } = await here('volume', 'import', 'in.raw', 'data');
      expect(status).toBe(0);
      const rounded = Math.ceil(sizeBytes / 4096) * 4096;
      expect(stderr).toContain(`${String(rounded - sizeBytes)} zero bytes follow it`);
      const stored = daemon.named('data')!.content;
      expect(stored.length).toBe(rounded);
      expect(stored.subarray(0, sizeBytes).equals(content)).toBe(true);
      expect(stored.subarray(sizeBytes).every((byte) => byte === 0)).toBe(true);
    },
  );

  test('--size makes the volume larger than the image, never smaller', async () => {
    image('in.raw', MIB, [[0, 4096]]);
    expect((await here('volume', 'import', 'in.raw', 'small', '--size', '512K')).status).toBe(2);
    expect((await here('volume', 'import', 'in.raw', 'data', '--size', '2M', '-l', 'a=b')).status).toBe(0);
    expect(daemon.named('data')?.volume).toMatchObject({ sizeBytes: 2 * MIB, labels: { a: 'b' } });
  });

  test('a refusal of the daemon ends the import with its reason', async () => {
    image('in.raw', 40 * MIB, [[0, 40 * MIB]]);
    daemon.add('data');
    const { status, stderr } = await here('volume', 'import', 'in.raw', 'data');
    expect(status).toBe(1);
    expect(stderr).toBe('gfs: a volume named data exists; choose another name\n');
    expect(daemon.volumes.size).toBe(1);
  });

  test('an interrupted import returns only after the daemon has removed the volume', async () => {
    image('in.raw', 40 * MIB, [[0, 40 * MIB]]);
    const interruption = new AbortController();
    const run = runWith(daemon, ['volume', 'import', join(folder, 'in.raw'), 'data'], { signal: interruption.signal });
    await daemon.until(() => daemon.named('data') !== undefined && daemon.importedBytes > 0);
    interruption.abort('interrupted');
    const { status, stderr } = await run;
    expect(status).toBe(130);
    expect(stderr).toBe('gfs: interrupted\n');
    expect(daemon.methods()).toContain('importAbandoned');
    expect(daemon.volumes.size).toBe(0);
  });

  test('what is no image is refused before anything is made', async () => {
    writeFileSync(join(folder, 'empty'), '');
    writeFileSync(join(folder, 'disk.gz'), Buffer.from('1f8b0800', 'hex'));
    expect((await here('volume', 'import', 'empty', 'data')).stderr).toContain('is empty');
    expect((await here('volume', 'import', 'disk.gz', 'data')).stderr).toContain('compressed by gzip');
    expect((await here('volume', 'import', '.', 'data')).stderr).toContain('is a folder');
    expect((await here('volume', 'import', 'none', 'data')).stderr).toBe('gfs: there is no file none\n');
    expect((await here('volume', 'import', 'rbd://pool/x', 'data')).stderr).toContain('cannot read rbd:// images');
    expect(daemon.calls).toEqual([]);
  });

  test('export-image replaces a file only with --force, and leaves nothing behind when it fails', async () => {
    daemon.add('data', {}, randomBytes(MIB));
    writeFileSync(join(folder, 'out.raw'), 'precious');
    const refused = await here('volume', 'export-image', 'data', 'out.raw');
    expect(refused.status).toBe(1);
    expect(refused.stderr).toBe('gfs: out.raw exists; add --force to replace it\n');
    daemon.mute.add('exportDamage');
    const damaged = await here('volume', 'export-image', 'data', 'out.raw', '--force');
    expect(damaged.status).toBe(1);
    expect(damaged.stderr).toBe('gfs: block 7 is damaged\n');
    expect(readFileSync(join(folder, 'out.raw'), 'utf8')).toBe('precious');
    daemon.mute.clear();
    expect((await here('volume', 'export-image', 'data', 'out.raw', '--force')).status).toBe(0);
    expect(readFileSync(join(folder, 'out.raw')).equals(daemon.named('data')!.content)).toBe(true);
    expect((await here('volume', 'export-image', 'data', 'no/such/out.raw')).stderr).toContain('there is no folder');
    expect(readdirSync(folder)).toEqual(['out.raw']);
  });

  test('an interrupted export leaves no file', async () => {
    daemon.add('data', {}, randomBytes(MIB));
    daemon.mute.add('exportImage');
    const interruption = new AbortController();
    const run = runWith(daemon, ['volume', 'export-image', 'data', join(folder, 'out.raw')], {
      signal: interruption.signal,
    });
    await daemon.until(() => daemon.methods().includes('exportImage'));
    interruption.abort('interrupted');
    expect((await run).status).toBe(130);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('an export of clients that write says that it is not one moment', async () => {
    const connections = [{ address: 'a', sinceMs: 0, inFlight: 0, transport: 'tcp' }];
    const exported = { name: 'data', uri: '', socketUri: '', readOnly: false, connections };
    daemon.add('data', { export: exported }, Buffer.alloc(4096, 1));
    const { status, stderr } = await here('volume', 'export-image', 'data', 'out.raw');
    expect(status).toBe(0);
    expect(stderr).toContain('clients that may write');
  });
});

describe('other formats', () => {
  test('without qemu-img a qcow2 image is refused by naming the package', async () => {
    const before = process.env['PATH'];
    writeFileSync(
      join(folder, 'disk.img'),
      Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.alloc(500)]),
    );
    process.env['PATH'] = folder;
    try {
      const { status, stderr } = await here('volume', 'import', 'disk.img', 'data');
      expect(status).toBe(1);
      expect(stderr).toContain('apt install qemu-utils');
      expect(daemon.calls).toEqual([]);
      daemon.add('data', {}, Buffer.alloc(4096));
      expect((await here('volume', 'export-image', 'data', 'out.qcow2')).stderr).toContain('apt install qemu-utils');
      // The temporary export is taken back, and no file is left.
      expect(daemon.named('data')?.volume.export).toBeUndefined();
      expect(existsSync(join(folder, 'out.qcow2'))).toBe(false);
    } finally {
      process.env['PATH'] = before;
    }
  });

  test('when qemu-img fails the volume that was made for it is removed', async () => {
    // A stand-in that knows the size and then fails as qemu-img does.
    const script = join(folder, 'qemu-img');
    writeFileSync(
      script,
      '#!/bin/sh\n[ "$1" = info ] && echo \'{"virtual-size": 1048576, "format": "qcow2"}\' && exit 0\n' +
        'echo "qemu-img: error while writing: No space left on device" >&2\nexit 1\n',
      { mode: 0o755 },
    );
    writeFileSync(join(folder, 'disk.img'), Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'));
    const before = process.env['PATH'];
    process.env['PATH'] = `${folder}:${before ?? ''}`;
    try {
      const { status, stderr } = await here('volume', 'import', 'disk.img', 'data');
      expect(status).toBe(1);
      expect(stderr).toBe('gfs: qemu-img: error while writing: No space left on device\n');
    } finally {
      process.env['PATH'] = before;
    }
    expect(daemon.methods()).toEqual(['status', 'create', 'export', 'delete']);
    expect(daemon.volumes.size).toBe(0);
  });

  test('qemu-img is told to write only data, to flush, and where; the mark of the unfinished is taken away', async () => {
    const script = join(folder, 'qemu-img');
    const log = join(folder, 'log');
    writeFileSync(
      script,
      '#!/bin/sh\n[ "$1" = info ] && echo \'{"virtual-size": 1048577, "format": "qcow2"}\' && exit 0\n' +
        `echo "$@" > '${log}'\nprintf '    (50.00/100%%)\\r'\n`,
      { mode: 0o755 },
    );
    writeFileSync(join(folder, 'disk.img'), Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'));
    writeFileSync(join(daemon.folder, 'nbd.sock'), '');
    const before = process.env['PATH'];
    process.env['PATH'] = `${folder}:${before ?? ''}`;
    try {
      const { status, stdout } = await here('volume', 'import', 'disk.img', 'data', '-l', 'a=b', '-o', 'json');
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ sizeBytes: MIB + 4096, labels: { a: 'b' }, export: null });
    } finally {
      process.env['PATH'] = before;
    }
    expect(readFileSync(log, 'utf8').trim()).toBe(
      'convert -p -t writeback -m 8 -n --target-is-zero -W -f qcow2 -O raw ' +
        `${folder}/disk.img nbd+unix:///data?socket=${daemon.folder}/nbd.sock`,
    );
    expect(daemon.calls[1]).toMatchObject({ method: 'create', request: { labels: { a: 'b', import: 'incomplete' } } });
  });

  test.each([
    ['QFI\xfb\0\0\0\x03', { kind: 'foreign', format: 'qcow2' }],
    ['QFI\xfb\0\0\0\x01', { kind: 'foreign', format: 'qcow' }],
    ['KDMV', { kind: 'foreign', format: 'vmdk' }],
    ['vhdxfile', { kind: 'foreign', format: 'vhdx' }],
    ['conectix', { kind: 'foreign', format: 'vpc' }],
    [`${'x'.repeat(64)}\x7f\x10\xda\xbe`, { kind: 'foreign', format: 'vdi' }],
    ['\xfd7zXZ\0', { kind: 'compressed', by: 'xz' }],
    ['', { kind: 'raw' }],
    ['LUKS\xba\xbe', { kind: 'raw' }],
  ])('%j is known by its first bytes', (head, kind) => {
    expect(imageKind(Buffer.from(head, 'latin1'))).toEqual(kind);
  });

  test('the name of a file says its format', () => {
    expect(['a.qcow2', 'b.VMDK', 'c.vhd', 'd.img', 'e', 'f.raw'].map(formatOfName)).toEqual([
      'qcow2',
      'vmdk',
      'vpc',
      'raw',
      'raw',
      'raw',
    ]);
  });
});

test('data runs cover what is not zero, at 4 KiB', () => {
  const bytes = Buffer.alloc(5 * 4096 + 10);
  bytes[4096] = 1;
  bytes[8192] = 1;
  bytes[5 * 4096 + 9] = 1;
  expect(dataRuns(bytes)).toEqual([
    { start: 4096, end: 12_288 },
    { start: 20_480, end: 20_490 },
  ]);
  expect(dataRuns(Buffer.alloc(8192))).toEqual([]);
  expect(dataRuns(Buffer.alloc(0))).toEqual([]);
});
