import { existsSync } from 'node:fs';
import { findProgram } from '../debian-packages.mjs';
import { BenchError } from './bench-error.js';
import type { Bed } from './bed.js';
import { SYSTEM_PYTHON } from './flush-loop.js';

const PROBE_MS_MAX = 20_000;

/** What a run needs of the operating system, each with the Debian package that has it. */
export interface Needs {
  readonly fio: boolean;
  readonly libnbd: boolean;
  readonly nbdkit: boolean;
  readonly qemu: boolean;
}

/** Throws BenchError that names everything that is missing and how to install it. */
export async function checkPrograms(bed: Bed, needs: Needs): Promise<void> {
  const missing: { what: string; from: string }[] = [];
  const want = (needed: boolean, what: string, from: string, isThere: boolean): void => {
    if (needed && !isThere) missing.push({ what, from });
  };
  want(needs.fio, 'fio with its nbd engine', 'fio', await says(bed, 'fio', ['--enghelp'], /^\s*nbd$/m));
  want(
    needs.nbdkit,
    'nbdkit with its file plugin',
    'nbdkit',
    await says(bed, 'nbdkit', ['file', '--dump-plugin'], /^name=file$/m),
  );
  want(needs.qemu, 'qemu-nbd', 'qemu-utils', findProgram('qemu-nbd') !== null && findProgram('qemu-img') !== null);
  const libnbd =
    existsSync(SYSTEM_PYTHON) && (await says(bed, SYSTEM_PYTHON, ['-c', 'import nbd; print("nbd")'], /nbd/));
  want(needs.libnbd, `the nbd module of ${SYSTEM_PYTHON}`, 'python3 python3-libnbd', libnbd);
  if (missing.length === 0) return;
  const packages = missing.map(({ from }) => from).join(' ');
  throw new BenchError(
    `not installed: ${missing.map(({ what }) => what).join(', ')}; on Debian or Ubuntu: apt-get install ${packages} ` +
      '(or leave out with --peers and --only who needs it)',
  );
}

async function says(bed: Bed, program: string, args: readonly string[], what: RegExp): Promise<boolean> {
  try {
    const { stdout, stderr } = await bed.children.run(program, args, { limitMs: PROBE_MS_MAX, cwd: bed.scratch });
    return what.test(`${stdout}${stderr}`);
  } catch {
    return false;
  }
}
