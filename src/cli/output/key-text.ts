import { formatSize } from '../../base/size.js';
import type {
  DataKey,
  KeyStatusResponse,
  Resealing,
  VolumeKeys,
  VolumeKeysResponse,
} from '../../ipc/generated/keys.js';
import type { Output } from './output.js';
import type { Column } from './table.js';
import { toIso } from './volume-view.js';

export function toKeyStatusView(status: KeyStatusResponse): object {
  return {
    provider: status.provider,
    description: status.description,
    usable: status.usable,
    reason: status.reason,
    settings: status.settings?.settings ?? {},
    masterKey: status.masterKeyId === '' ? null : { id: status.masterKeyId, since: toIso(status.masterKeySinceMs) },
    wrappedKeys: status.wrappedKeys,
    keptTwice: status.keptTwice,
    volumes: status.volumes.map(({ id, name, phase, encrypted, plainBlocks, keys, resealing }) => ({
      id,
      name,
      phase,
      encrypted,
      plainBlocks,
      keys: keys.map(({ number, createdMs, algorithm, seals, copies }) => ({
        number,
        created: createdMs === 0 ? null : toIso(createdMs),
        algorithm,
        use: seals ? 'new-writes' : 'old-blocks',
        copies,
      })),
      resealing: resealing === undefined ? null : toResealingView(resealing),
    })),
  };
}

function toResealingView({ nextTryMs, ...resealing }: Resealing): object {
  return { ...resealing, nextTry: nextTryMs === 0 ? null : toIso(nextTryMs) };
}

interface Line {
  readonly volume: VolumeKeys;
  /** null: without encryption. */
  readonly key: DataKey | null;
  readonly use: string;
}

export function keyStatusText(status: KeyStatusResponse, output: Output): string {
  const once = status.wrappedKeys - status.keptTwice;
  const facts = output.facts([
    ['provider', status.description],
    [
      'master key',
      status.masterKeyId === ''
        ? 'its check is missing or damaged'
        : `${status.masterKeyId}, since ${toIso(status.masterKeySinceMs)}`,
    ],
    [
      'wrapped keys',
      `${String(status.wrappedKeys)}, ${once === 0 ? 'each kept twice: in meta/ and in keys/' : `${String(once)} of them with one good copy or none`}`,
    ],
  ]);
  const columns: Column<Line>[] = [
    {
      title: 'VOLUME',
      value: ({ volume }) => (volume.phase === 'live' ? volume.name : `${volume.name} (${volume.phase})`),
      widthMin: 8,
    },
    { title: 'KEY', value: ({ key }) => (key === null ? '-' : String(key.number)), align: 'right' },
    { title: 'ALGORITHM', value: ({ key }) => key?.algorithm ?? 'none' },
    {
      title: 'CREATED',
      value: ({ key }) => (key === null || key.createdMs === 0 ? '' : toIso(key.createdMs)),
      dropOrder: 1,
    },
    { title: 'USE', value: ({ use }) => use },
    { title: 'COPIES', value: ({ key }) => (key === null ? '' : String(key.copies)), align: 'right', dropOrder: 2 },
  ];
  const lines = status.volumes.flatMap(linesOf);
  const resealing = status.volumes.flatMap((volume) => resealingText(volume));
  return [
    facts,
    ...(lines.length === 0 ? [] : [output.table(columns, lines)]),
    ...(resealing.length === 0 ? [] : [resealing.join('\n')]),
  ].join('\n\n');
}

const NEW_WRITES = 'new writes';
const OLD_BLOCKS = 'old blocks';

function linesOf(volume: VolumeKeys): Line[] {
  const lines: Line[] = volume.keys.map((key) => ({ volume, key, use: key.seals ? NEW_WRITES : OLD_BLOCKS }));
  if (!volume.plainBlocks) return lines;
  const plain: Line = { volume, key: null, use: volume.encrypted ? OLD_BLOCKS : NEW_WRITES };
  return volume.encrypted ? [plain, ...lines] : [...lines, plain];
}

/** How far the old blocks of a volume are; nothing when it has none. */
function resealingText({ name, resealing }: VolumeKeys): string[] {
  if (resealing === undefined) return [];
  const { state, reason, lookedBytes, totalBytes, sealedBlocks, nextTryMs } = resealing;
  const share = totalBytes === 0 ? 0 : Math.min(100, Math.floor((100 * lookedBytes) / totalBytes));
  const far = `${String(share)}% of ${formatSize(totalBytes)} looked at, ${String(sealedBlocks)} blocks sealed anew`;
  const again = nextTryMs === 0 ? '' : `; tried again at ${toIso(nextTryMs)}`;
  const text: Record<string, string> = {
    queued: 'sealed anew when its turn comes',
    running: `being sealed anew: ${far}`,
    waiting: `sealed anew later: ${reason}`,
    shared: `stay as they are, and keep their keys: ${reason}`,
    damaged: `${far}; ${reason}${again}`,
    failed: `could not be sealed anew: ${reason}${again}`,
  };
  return [`old blocks of ${name}: ${text[state] ?? state}`];
}

/** What happened to new writes, and what will to old blocks. */
export function changeText({ name, keyNumber, retired }: VolumeKeysResponse): string {
  const now = keyNumber === 0 ? 'are not encrypted any more' : `are sealed with data key ${String(keyNumber)}`;
  const keys = retired.filter((number) => number !== 0);
  const under = [
    ...(retired.includes(0) ? ['without encryption'] : []),
    ...(keys.length > 0 ? [`under data ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`] : []),
  ].join(' and ');
  return `new writes of ${name} ${now}; blocks that were written before ${under} follow in the background: see \`gfs key status\``;
}
