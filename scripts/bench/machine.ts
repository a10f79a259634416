import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import type { Bed } from './bed.js';

/** Magic numbers of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x2fc12fc1: 'zfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlayfs',
  0x6969: 'nfs',
};
const VERSION_MS_MAX = 20_000;

/** What the figures were taken on; nothing that tells whose machine it is. */
export async function describeMachine(bed: Bed): Promise<string> {
  const { type } = await statfs(bed.folder);
  const model = cpus()[0]?.model.replaceAll(/\s+/g, ' ').trim() ?? 'unknown processor';
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB of memory`;
  const fileSystem = FILE_SYSTEMS[type] ?? `file system 0x${type.toString(16)}`;
  return `${availableParallelism()} cores (${model}), ${memory}, Linux ${release().split('-')[0] ?? ''}, ${fileSystem}`;
}

/** Versions of those programs that were used. */
export async function describePrograms(bed: Bed, used: readonly { readonly program: string }[]): Promise<string> {
  const versions = [`node ${process.versions.node}`];
  for (const { program } of used.filter((each) => each.program !== '')) {
    const options = { limitMs: VERSION_MS_MAX, cwd: bed.scratch };
    const { stdout } = await bed.children.run(program, ['--version'], options);
    versions.push(`${program} ${/\d+(?:\.\d+)+/.exec(stdout)?.[0] ?? 'of an unknown version'}`);
  }
  return versions.join(', ');
}

/** Bytes that can be had without swapping. */
export function availableBytes(): number {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}
