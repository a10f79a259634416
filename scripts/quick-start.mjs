// The tour: a real file system goes into an encrypted volume, the daemon is killed, and it comes out byte for byte.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, fullPath } from './debian-packages.mjs';
import { PLAINTEXT_MARKER, findPlaintext, makeImage, sha256, stockClient } from './quick-start-image.mjs';
import { runCommand } from './run-command.mjs';

const VOLUME_BYTES = 256 * 1024 * 1024;
const NAME_ATTEMPTS_MAX = 1000;

/**
 * @typedef {object} TourOptions
 * @property {string} root The repository.
 * @property {string} storagePath
 * @property {string} scratch A folder for images; the caller removes it.
 * @property {import('./quick-start-daemon.mjs').QuickStartDaemon} daemon
 * @property {import('./quick-start-output.mjs').QuickStartOutput} output
 */

/** Thrown when going on makes no sense; the failed check has been shown. */
export class TourEnded extends Error {}

export class Tour {
  #options;
  #daemon;
  #output;
  #volume = '';

  /** @param {TourOptions} options */
  constructor(options) {
    this.#options = options;
    this.#daemon = options.daemon;
    this.#output = options.output;
  }

  /** Name of the volume that it made. */
  get volume() {
    return this.#volume;
  }

  async run() {
    const { root, scratch } = this.#options;
    const client = stockClient();
    await this.#startDaemon('Start a daemon', 'the daemon is ready');
    await this.#gfs(['daemon', 'status']);
    this.#volume = await this.#freeName();

    this.#output.step('Build a real file system: ext4, with the files of this project in it');
    const image = await makeImage(root, scratch, VOLUME_BYTES);
    if (image.isFileSystem) {
      this.#output.command(image.command);
      this.#output.check(
        image.problem === '',
        `an image of ${VOLUME_BYTES / 2 ** 20} MiB with ${image.files} files`,
        image.problem,
      );
    } else {
      this.#output.skip('mke2fs is not installed (e2fsprogs): a plain file of numbered lines takes its place');
    }

    this.#output.step('Create an encrypted volume and export it');
    if (client !== null) await this.#gfsOk(['volume', 'create', this.#volume, '--size', '256M'], 'created');
    else await this.#importImage(image.image);
    const created = await this.#describe();
    this.#output.check(created.sizeBytes === VOLUME_BYTES && created.encrypted === true, 'it is 256 MiB and encrypted');
    await this.#gfsOk(['volume', 'export', this.#volume], 'exported');
    const uri = String((await this.#describe()).export?.socketUri ?? '');
    this.#output.check(uri !== '', `its address is ${uri}`);

    if (client !== null) {
      this.#output.step('Copy the file system in over NBD');
      await this.#programOk(client.copyIn(image.image, uri), 'copied in and flushed');
    }
    await this.#gfs(['volume', 'list']);
    await this.#killAndRestart();

    this.#output.step('Copy it out and compare');
    const copy = join(scratch, 'copy.raw');
    if (client !== null) await this.#programOk(client.copyOut(uri, copy), 'copied out');
    else await this.#gfsOk(['volume', 'export-image', this.#volume, copy], 'copied out');
    const [before, after] = [await sha256(image.image), await sha256(copy)];
    this.#output.answer(`sha256 in  ${before}\nsha256 out ${after}`);
    this.#output.check(before === after, 'every byte is the same');
    if (image.isFileSystem && findProgram('e2fsck') !== null)
      await this.#programOk(['e2fsck', '-fn', copy], 'the file system is clean');
    else this.#output.skip('e2fsck is not installed (e2fsprogs), or the image is no file system');
    rmSync(copy, { force: true });

    await this.#lookForPlaintext(image.image);
    this.#output.step('Grow it, and look around');
    await this.#gfsOk(['volume', 'expand', this.#volume, '--size', '+256M'], 'grown');
    this.#output.check((await this.#describe()).sizeBytes === 2 * VOLUME_BYTES, 'it is 512 MiB');
    await this.#gfsOk(['volume', 'list'], 'listed');
    const events = await this.#gfsOk(['events'], 'events are shown');
    this.#output.check(events.includes(this.#volume), 'those from before the kill are among them');
  }

  async #killAndRestart() {
    this.#output.step('Kill the daemon without warning, and start it again');
    this.#output.command(`kill -9 ${this.#daemon.pid}`);
    await this.#daemon.end('SIGKILL');
    const dead = await this.#gfs(['daemon', 'status']);
    this.#output.check(dead.status === 3, 'it is gone: `gfs daemon status` exits 3');
    await this.#startDaemon('', 'the daemon is ready again');
    const status = await this.#daemon.gfs(['daemon', 'status', '-o', 'json']);
    const recovery = status.status === 0 ? JSON.parse(status.stdout).lastRecovery : '';
    if (typeof recovery === 'string' && recovery !== '') this.#output.answer(recovery);
  }

  /** @param {string} image */
  async #lookForPlaintext(image) {
    this.#output.step('Look for readable text where the volume is kept');
    const probe = await findPlaintext(join(image, '..'), PLAINTEXT_MARKER);
    const kept = await findPlaintext(this.#options.storagePath, PLAINTEXT_MARKER);
    this.#output.check(probe.found.includes(image), 'the sentence that we look for is in the image');
    this.#output.check(
      kept.bytesRead > 0 && kept.found.length === 0,
      `it is nowhere in the ${Math.ceil(kept.bytesRead / 2 ** 20)} MiB of ${this.#options.storagePath}`,
      kept.found.join('\n'),
    );
  }

  /** @param {string} title @param {string} what */
  async #startDaemon(title, what) {
    if (title !== '') this.#output.step(title);
    this.#output.command(this.#daemon.commandLine);
    const problem = await this.#daemon.start();
    this.#output.check(problem === '', what, problem);
    if (problem !== '') throw new TourEnded();
  }

  /** Without a stock client `gfs` carries the image itself. @param {string} image */
  async #importImage(image) {
    this.#output.skip(
      'neither nbdcopy nor qemu-img is installed (libnbd-bin, qemu-utils): gfs imports the image itself',
    );
    await this.#gfsOk(['volume', 'import', image, this.#volume], 'created and filled');
  }

  /** A name that no volume has: the folder may hold those of earlier tours. */
  async #freeName() {
    const listed = await this.#daemon.gfs(['volume', 'list', '-o', 'json']);
    const names = new Set(
      listed.status === 0 ? JSON.parse(listed.stdout).map((/** @type {{ name: string }} */ each) => each.name) : [],
    );
    for (let number = 1; number <= NAME_ATTEMPTS_MAX; number += 1) {
      const name = number === 1 ? 'web-data' : `web-data-${number}`;
      if (!names.has(name)) return name;
    }
    throw new TourEnded();
  }

  async #describe() {
    const result = await this.#daemon.gfs(['volume', 'get', this.#volume, '-o', 'json']);
    if (result.status === 0) return JSON.parse(result.stdout);
    this.#output.check(false, `gfs volume get ${this.#volume} -o json`, result.stderr);
    throw new TourEnded();
  }

  /** Runs and shows a `gfs` command. @param {readonly string[]} args */
  async #gfs(args) {
    this.#output.command(`gfs ${args.join(' ')}`);
    const result = await this.#daemon.gfs(args);
    this.#output.answer(result.stdout + result.stderr);
    return result;
  }

  /** The same, checked; without it the rest has no ground. @param {readonly string[]} args @param {string} what */
  async #gfsOk(args, what) {
    const result = await this.#gfs(args);
    this.#output.check(result.status === 0, what, `exit status ${result.status}`);
    if (result.status !== 0) throw new TourEnded();
    return result.stdout;
  }

  /** @param {readonly string[]} line @param {string} what */
  async #programOk(line, what) {
    this.#output.command(line.map((word) => (/[?&* ]/.test(word) ? `'${word}'` : word)).join(' '));
    const [program, ...args] = line;
    const result = await runCommand(program, args, { env: { ...process.env, PATH: fullPath() } });
    this.#output.answer(result.stdout + result.stderr);
    this.#output.check(result.status === 0, what, `exit status ${result.status}`);
    if (result.status !== 0) throw new TourEnded();
  }
}
