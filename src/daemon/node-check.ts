import { join } from 'node:path';
import type { Clock, Random } from '../base/clock.js';
import { CloseStack } from '../base/lifecycle.js';
import type { BlockKeys, Checksums } from '../io/block-keys.js';
import { lockExisting } from '../io/file-lock.js';
import { FileError } from '../io/file-error.js';
import type { Files } from '../io/files.js';
import { plainBlocksOf } from '../control/volume-opener.js';
import { type CheckFinding, damage, note } from '../store/check-finding.js';
import { decodeSegmentHeader } from '../store/journal/segment-header.js';
import { checkStore, type CheckedVolume, type StoreFacts } from '../store/store-check.js';
import { DaemonError } from './daemon-error.js';
import { KeyCheck } from './key-check.js';
import { checkLayersOfVolumes, checkMeta, nameOf } from './meta-check.js';
import type { NodeSettings } from './node-settings.js';
import { nodeIdBytesOf, readNodeId } from './storage-folder.js';

export interface NodeReport {
  readonly storagePath: string;
  /** '' when node.json and every segment header have lost it. */
  readonly nodeId: string;
  readonly volumes: number;
  readonly facts: StoreFacts;
  readonly findings: readonly CheckFinding[];
}

export interface NodeCheckDependencies {
  readonly files: Files;
  readonly keys: BlockKeys;
  readonly checksums: Checksums;
  readonly clock: Clock;
  readonly random: Random;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Looks at the storage path of a node that is not running, and changes nothing there. Throws DaemonError START when it cannot
 * be looked at; StoreError and FileError where a start could not go on either.
 */
export async function checkNode(
  settings: Pick<NodeSettings, 'storagePath' | 'segmentBytes' | 'keyProvider'>,
  options: { readonly deep: boolean },
  dependencies: NodeCheckDependencies,
): Promise<NodeReport> {
  const { storagePath, segmentBytes } = settings;
  const { files } = dependencies;
  const findings: CheckFinding[] = [];
  const report = (finding: CheckFinding): void => {
    findings.push(finding);
  };
  const closing = new CloseStack();
  try {
    // 1. Nobody else may write: what is looked at must stand still.
    if (!(await files.exists(join(storagePath, 'journal')))) throw refusal(storagePath, 'there is no journal in it');
    await hold(storagePath, closing, report);
    // 2. Who it is.
    const nodeId = await identityOf(storagePath, dependencies, report);
    // 3. What it says of volumes, and their keys.
    const meta = checkMeta(join(storagePath, 'meta', 'data.mdb'), report);
    const keyOptions = { keysPath: join(storagePath, 'keys'), provider: settings.keyProvider };
    const keyCheck = closing.push(await KeyCheck.open(keyOptions, { ...dependencies, meta, report }));
    // 4. What it holds.
    const facts = await checkStore(
      { storagePath, segmentBytes, nodeId: nodeIdBytesOf(nodeId), deep: options.deep },
      dependencies,
      report,
      async (layers) => {
        checkLayersOfVolumes(meta, layers, report);
        const checked: CheckedVolume[] = [];
        for (const row of meta.volumes) {
          if (row.phase === 'deleting') continue;
          const keys = await keyCheck.keysOf(row);
          const snapshots = meta.snapshots.filter(({ volumeId, phase }) => volumeId === row.id && phase === 'live');
          const plain = [row, ...snapshots].some((each) => plainBlocksOf(each) !== 'refused');
          checked.push({
            subject: `volume ${nameOf(row)}`,
            layer: row.layer,
            snapshotLayers: snapshots.map(({ layer }) => layer),
            keys: keys === null ? null : { keys, plain },
          });
        }
        return checked;
      },
    );
    return { storagePath, nodeId, volumes: meta.volumes.length, facts, findings };
  } finally {
    await closing.close();
  }
}

async function hold(storagePath: string, closing: CloseStack, report: (finding: CheckFinding) => void): Promise<void> {
  try {
    const lock = await lockExisting(join(storagePath, 'lock'));
    closing.defer(() => lock.release());
  } catch (thrown) {
    if (!(thrown instanceof FileError)) throw thrown;
    if (thrown.code === 'LOCKED')
      throw refusal(storagePath, 'a daemon is running on it: stop it first, or use `gfs volume scrub`');
    if (thrown.code !== 'NOT_FOUND') throw refusal(storagePath, thrown.message);
    report(note('lock', 'there is no lock file: nothing keeps a daemon from starting while this looks'));
  }
}

/** The node's id; from the journal's own headers where node.json has lost it. */
async function identityOf(
  storagePath: string,
  { files, checksums }: NodeCheckDependencies,
  report: (finding: CheckFinding) => void,
): Promise<string> {
  const path = join(storagePath, 'node.json');
  const bytes = (await files.exists(path)) ? await files.readFile(path) : null;
  const identity = bytes === null ? null : readNodeId(bytes, storagePath);
  if (identity !== null) return identity;
  report(
    damage(
      'node.json',
      bytes === null ? 'it is missing' : 'it is damaged',
      'a start is refused: restore it from a copy; the data is untouched',
    ),
  );
  for (const name of await files.list(join(storagePath, 'journal'))) {
    const page = await files.readFile(join(storagePath, 'journal', name));
    const header = decodeSegmentHeader(page, checksums.crc32c.bind(checksums));
    if (header !== null && header !== 'newer') return idOf(header.nodeId);
  }
  return '';
}

function idOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function refusal(path: string, reason: string): DaemonError {
  return new DaemonError(`${path} cannot be checked: ${reason}`, { code: 'START', subject: path });
}
