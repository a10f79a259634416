import { existsSync } from 'node:fs';
import { findProgram } from '../debian-packages.mjs';
import { BenchError } from './bench-error.js';
import type { Bed } from './bed.js';
import type { Figure, Need } from './figure.js';
import { SYSTEM_PYTHON } from './flush-loop.js';
import type { Peer } from './peer.js';
import type { Work } from './works.js';

const PROBE_MS_MAX = 20_000;

/** A program of the operating system that a run can need. */
interface Requirement {
  readonly program: string;
  /** For people. */
  readonly what: string;
  /** Debian packages that have it. */
  readonly packages: string;
  readonly isThere: (bed: Bed) => Promise<boolean>;
}

const REQUIREMENTS = {
  fio: {
    ...{ program: 'fio', what: 'fio with its nbd engine', packages: 'fio' },
    isThere: (bed: Bed) => says(bed, 'fio', ['--enghelp'], /^\s*nbd$/m),
  },
  nbdkit: {
    ...{ program: 'nbdkit', what: 'nbdkit with its file plugin', packages: 'nbdkit' },
    isThere: (bed: Bed) => says(bed, 'nbdkit', ['file', '--dump-plugin'], /^name=file$/m),
  },
  qemu: {
    ...{ program: 'qemu-nbd', what: 'qemu-nbd and qemu-img', packages: 'qemu-utils' },
    isThere: async () => findProgram('qemu-nbd') !== null && findProgram('qemu-img') !== null,
  },
  libnbd: {
    ...{ program: '', what: `the nbd module of ${SYSTEM_PYTHON}`, packages: 'python3 python3-libnbd' },
    isThere: async (bed: Bed) =>
      existsSync(SYSTEM_PYTHON) && (await says(bed, SYSTEM_PYTHON, ['-c', 'import nbd; print(nbd)'], /nbd/)),
  },
} satisfies Record<string, Requirement>;

/** What these works, peers and figures need. */
export function programsOf(
  works: readonly Work[],
  peers: readonly Peer[],
  figures: readonly Figure[],
): readonly Requirement[] {
  const needed: Requirement[] = [];
  const figureNeeds = (need: Need): boolean => figures.some(({ needs }) => needs.includes(need));
  // Working sets are filled by fio also where something else measures them.
  if (works.length > 0 || figureNeeds('fio')) needed.push(REQUIREMENTS.fio);
  if (peers.some(({ name }) => name === 'nbdkit')) needed.push(REQUIREMENTS.nbdkit);
  if (peers.some(({ name }) => name.startsWith('qemu-')) || figureNeeds('qemu')) needed.push(REQUIREMENTS.qemu);
  if (works.some(({ kind }) => kind === 'flush') || figureNeeds('libnbd')) needed.push(REQUIREMENTS.libnbd);
  return needed;
}

/** Throws BenchError that names everything that is missing and how to install it. */
export async function checkPrograms(bed: Bed, needed: readonly Requirement[]): Promise<void> {
  const missing: Requirement[] = [];
  for (const requirement of needed) if (!(await requirement.isThere(bed))) missing.push(requirement);
  if (missing.length > 0) throw new BenchError(describeMissing(missing));
}

export function describeMissing(missing: readonly { readonly what: string; readonly packages: string }[]): string {
  const packages = missing.map((each) => each.packages).join(' ');
  return (
    `not installed: ${missing.map(({ what }) => what).join(', ')}; on Debian or Ubuntu: apt-get install ${packages} ` +
    '(or leave out with --peers and --only what needs it)'
  );
}

async function says(bed: Bed, program: string, args: readonly string[], what: RegExp): Promise<boolean> {
  try {
    const { stdout, stderr } = await bed.children.run(program, args, { limitMs: PROBE_MS_MAX, cwd: bed.scratch });
    return what.test(`${stdout}${stderr}`);
  } catch (thrown) {
    if (thrown instanceof BenchError) return false;
    throw thrown;
  }
}
