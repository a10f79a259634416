import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { run } from '../nbd/programs.js';
import { DaemonProcess } from './daemon-process.js';
import { needs } from './needs.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const VOLUME_BYTES = 512 << 20;
const WAIT_MS = 20;
const WAITS_MAX = 1000;

/** A volume as the kernel sees it: nbdfuse makes a file of it, a loop device a disk, and it is mounted. */
class MountedVolume {
  readonly at: string;
  readonly #uri: string;
  readonly #fuseFolder: string;
  #undo: (() => Promise<unknown>)[] = [];

  constructor(folder: string, uri: string) {
    this.at = join(folder, 'mounted');
    this.#fuseFolder = join(folder, 'fuse');
    this.#uri = uri;
    for (const path of [this.at, this.#fuseFolder]) mkdirSync(path);
    // Registered after the daemon's own clean-up, so it comes before it.
    onTestFinished(async () => {
      while (this.#undo.length > 0) await this.#undo.pop()!().catch(() => undefined);
    });
  }

  /** The loop device of the volume. */
  async attach(): Promise<string> {
    const file = join(this.#fuseFolder, 'nbd');
    const fuse = spawn('nbdfuse', [file, this.#uri], { stdio: 'inherit' });
    let isOver = false;
    const ended = once(fuse, 'close').then(() => {
      isOver = true;
    });
    this.#undo.push(async () => {
      // Unmounting ends nbdfuse; what it still holds is written by then.
      await run('fusermount3', ['-u', this.#fuseFolder]).catch(() => run('umount', ['-l', this.#fuseFolder]));
      await ended;
    });
    // A mount is no event that can be awaited, and its pid file comes before it.
    for (let waits = 0; !existsSync(file); waits += 1) {
      if (isOver || waits === WAITS_MAX) throw new Error('nbdfuse did not come up');
      await setTimeout(WAIT_MS);
    }
    const device = (await run('losetup', ['--find', '--show', file])).trim();
    this.#undo.push(() => run('losetup', ['--detach', device]));
    return device;
  }

  async mount(device: string): Promise<void> {
    await run('mount', [device, this.at]);
    this.#undo.push(() => run('umount', [this.at]));
  }

  /** Undoes everything in order; what fails, fails the test. */
  async detach(): Promise<void> {
    while (this.#undo.length > 0) await this.#undo.pop()!();
  }
}

test.for([
  { type: 'ext4', make: ['-q', '-F'], check: ['e2fsck', '-fn'], storageClass: 'encrypted-storage' },
  { type: 'xfs', make: ['-q', '-f'], check: ['xfs_repair', '-n'], storageClass: 'encrypted-storage' },
])(
  '$type: made, mounted and filled with a real tree; the tree is the same after kill -9',
  { timeout: 120_000 },
  async ({ type, make, check, storageClass }, context) => {
    needs(context, 'root', 'FUSE (/dev/fuse)', 'loop devices', 'permission to mount', 'nbdfuse', `mkfs.${type}`);
    const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
    await daemon.volume('disk', VOLUME_BYTES, storageClass);
    const volume = new MountedVolume(daemon.folder, daemon.uri('disk'));
    const tree = join(daemon.folder, 'tree');
    mkdirSync(tree);
    for (const part of ['src', 'node_modules/typescript/lib']) {
      cpSync(join(ROOT, part), join(tree, part), { recursive: true });
    }
    writeFileSync(join(tree, 'empty'), '');

    let device = await volume.attach();
    await run(`mkfs.${type}`, [...make, device]);
    await volume.mount(device);
    await run('cp', ['-a', `${tree}/.`, volume.at]);
    await volume.detach();

    await daemon.restart();
    device = await volume.attach();
    const [program, ...args] = check;
    await run(program, [...args, device]);
    await volume.mount(device);
    await run('diff', ['-r', '-x', 'lost+found', tree, volume.at]);
    await volume.detach();
    expect((await daemon.client.status()).problems).toEqual([]);
    expect(await daemon.stop()).toBe(0);
  },
);
