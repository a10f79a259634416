/** `gfs daemon check`: looks at the storage of a node that is not running, and says what is wrong and what still reads. */
import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { messageOf } from '../base/errors.js';
import { formatSize } from '../base/size.js';
import { SystemClock, SystemRandom } from '../base/system-clock.js';
import { NativeChecksums } from '../io/native-checksums.js';
import { NativeFiles } from '../io/native-files.js';
import { NativeBlockKeys } from '../io/native-keys.js';
import type { CheckFinding } from '../store/check-finding.js';
import { configError } from './config-file.js';
import { readConfiguration } from './configuration.js';
import { checkNode, type NodeReport } from './node-check.js';

const FORMATS = ['table', 'json', 'yaml'] as const;
type Format = (typeof FORMATS)[number];

interface Arguments {
  readonly deep: boolean;
  readonly format: Format;
  /** The daemon's own. */
  readonly rest: readonly string[];
}

/** The exit statuses that scripts may rely on. */
const STATUS = { clean: 0, findings: 1, notChecked: 2 } as const;

/** Resolves to the exit status: 0 clean, 1 damage was found, 2 it could not be checked. */
export async function runCheck(argv: readonly string[]): Promise<number> {
  try {
    const given = takeArguments(argv);
    const parsed = await readConfiguration({
      argv: given.rest,
      environment: process.env,
      workingFolder: process.cwd(),
      readFile: (path) => readFile(path, 'utf8'),
    });
    if (parsed.kind !== 'run') throw configError('see `gfs help daemon check`');
    const report = await checkNode(
      parsed.configuration.settings,
      { deep: given.deep },
      {
        files: new NativeFiles(),
        keys: new NativeBlockKeys(),
        checksums: new NativeChecksums(),
        clock: new SystemClock(),
        random: new SystemRandom(),
        environment: process.env,
      },
    );
    process.stdout.write(shown(report, given.format));
    return isClean(report) ? STATUS.clean : STATUS.findings;
  } catch (thrown) {
    process.stderr.write(`gfs: ${messageOf(thrown).replaceAll(/\s*\n\s*/g, ' ')}\n`);
    return STATUS.notChecked;
  }
}

function isClean({ findings }: NodeReport): boolean {
  return findings.every(({ level }) => level === 'note');
}

function shown(report: NodeReport, format: Format): string {
  const { facts, findings, ...node } = report;
  const view = { ...node, clean: isClean(report), ...facts, findings };
  if (format === 'json') return `${JSON.stringify(view, null, 2)}\n`;
  if (format === 'yaml') return stringify(view);
  const { segments, records, blocks, bytes, layers, leaves, liveBlocks, openedBlocks } = facts;
  const lines = [
    `${report.storagePath}: node ${report.nodeId || '(unknown)'}, ${report.volumes} volumes`,
    `journal: ${segments} segments, ${formatSize(bytes)}, ${records} records, ${blocks} sealed blocks`,
    `map: ${layers} layers, ${leaves} stored leaves, ${liveBlocks} live blocks, of which ${openedBlocks} were opened`,
    ...findings.filter(({ level }) => level === 'damage').map(lineOf),
    ...findings.filter(({ level }) => level === 'note').map(lineOf),
    isClean(report) ? 'nothing is damaged' : 'damage was found; nothing was changed',
  ];
  return `${lines.join('\n')}\n`;
}

function lineOf({ level, subject, what, reads }: CheckFinding): string {
  const line = `${level === 'damage' ? '!' : '-'} ${subject}: ${what}`;
  return reads === '' ? line : `${line}\n    ${reads}`;
}

function takeArguments(argv: readonly string[]): Arguments {
  let deep = false;
  let format: Format = 'table';
  const rest: string[] = [];
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? '';
    const inline = /^(?:--output=|-o=?)(.+)$/.exec(argument)?.[1];
    if (argument === '--deep') deep = true;
    else if (argument === '-o' || argument === '--output' || inline !== undefined) {
      const given = inline ?? argv[(at += 1)] ?? '';
      const known = FORMATS.find((each) => each === given);
      if (known === undefined) throw configError(`-o is one of ${FORMATS.join(', ')}, not "${given}"`);
      format = known;
    } else rest.push(argument);
  }
  return { deep, format, rest };
}
