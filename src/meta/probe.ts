/**
 * Run as a child process: `node probe.js PATH`. Looks at the pages and reads every record of the MetaStore's environment
 * at PATH without changing it, and prints one line of JSON, a ProbeVerdict. That it prints at all says that reading is safe.
 */
import { join } from 'node:path';
import { messageOf } from '../base/errors.js';
import { fileStructureProblem } from '../base/lmdb-structure.js';
import { openEnvironment, survey } from './lmdb-environment.js';
import { PROBE_KEYS_NAMED_MAX } from './limits.js';
import type { ProbeVerdict } from './probe-verdict.js';

function probe(path: string): ProbeVerdict {
  try {
    const structure = fileStructureProblem(join(path, 'data.mdb'), () => false);
    if (structure !== '') return unreadable(structure);
    const { state, records, digest, damaged } = survey(openEnvironment(path, true));
    return {
      readable: true,
      reason: '',
      damagedCount: damaged.length,
      damaged: damaged.slice(0, PROBE_KEYS_NAMED_MAX),
      stateDamaged: state === null,
      // With damaged records the sum cannot match; then it says nothing new.
      sumMatches: damaged.length > 0 || state === null || (state.records === records && state.digest === digest),
    };
  } catch (thrown) {
    return unreadable(messageOf(thrown));
  }
}

function unreadable(reason: string): ProbeVerdict {
  return {
    readable: false,
    reason,
    damagedCount: 0,
    damaged: [],
    stateDamaged: false,
    sumMatches: false,
  };
}

const [path] = process.argv.slice(2);
if (path === undefined) {
  process.stderr.write('usage: probe PATH\n');
  process.exitCode = 2;
} else {
  process.stdout.write(`${JSON.stringify(probe(path))}\n`);
}
