import type { TestContext } from 'vitest';
import { missing } from '../nbd/programs.js';

export const PYTHON = '/usr/bin/python3';

/** How to ask a program whether it is there, where `--version` is not the way. */
const QUESTIONS: Record<string, readonly [program: string, ...args: string[]]> = {
  'libnbd for Python': [PYTHON, '-c', 'import nbd'],
  'fio with NBD': ['sh', '-c', 'fio --enghelp | grep -qw nbd'],
  openssl: ['openssl', 'version'],
  mke2fs: ['mke2fs', '-V'],
  e2fsck: ['e2fsck', '-V'],
  'mkfs.xfs': ['mkfs.xfs', '-V'],
  'mkfs.ext4': ['mkfs.ext4', '-V'],
  root: ['sh', '-c', 'test "$(id -u)" = 0'],
  'FUSE (/dev/fuse)': ['sh', '-c', 'test -c /dev/fuse'],
  'loop devices': ['sh', '-c', 'losetup -f'],
  'permission to mount': ['unshare', '--mount', 'true'],
};

/** Skips the running test, and says why, when the machine lacks something that it needs. */
export function needs(context: TestContext, ...names: readonly string[]): void {
  for (const name of names) {
    const [program, ...args] = QUESTIONS[name] ?? [name, '--version'];
    const reason = missing(program, args);
    context.skip(reason !== '', `needs ${name}, which this machine does not have`);
  }
}
