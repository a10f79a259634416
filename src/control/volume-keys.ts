/** What the row of a volume says of its keys. */
import type { VolumeRow } from '../model/volume-row.js';

/** Stands for "without encryption" where data key numbers are listed, as in the headers of blocks. */
export const WITHOUT_ENCRYPTION = 0;

type KeyFields = Pick<VolumeRow, 'encrypted' | 'plainBlocks' | 'dataKeyNumbers'>;

/** The data key of new writes, WITHOUT_ENCRYPTION where they are not encrypted. */
export function sealingNumberOf({ encrypted, dataKeyNumbers }: KeyFields): number {
  return encrypted ? (dataKeyNumbers.at(-1) ?? WITHOUT_ENCRYPTION) : WITHOUT_ENCRYPTION;
}

/** Under which blocks may be though no new write is sealed so, ascending; WITHOUT_ENCRYPTION among them: not encrypted. */
export function retiredNumbersOf({ encrypted, plainBlocks, dataKeyNumbers }: KeyFields): number[] {
  const old = encrypted ? dataKeyNumbers.slice(0, -1) : [...dataKeyNumbers];
  return encrypted && plainBlocks ? [WITHOUT_ENCRYPTION, ...old] : old;
}
