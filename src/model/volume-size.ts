import { formatSize } from '../base/size.js';
import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, REPLICAS_MAX, VOLUME_BYTES_MAX } from './limits.js';
import { ModelError } from './model-error.js';
import { VOLUME_TYPES, type VolumeType } from './volume-row.js';

/** Returns the size, or throws ModelError SIZE with the reason and, for an unaligned one, the sizes around it. */
export function checkVolumeSize(sizeBytes: number, blockBytes: number): number {
  const fail = (reason: string): never => {
    throw new ModelError(reason, { code: 'SIZE', sizeBytes });
  };
  if (!Number.isFinite(sizeBytes) || sizeBytes < 0) fail(`a volume size of ${String(sizeBytes)} bytes is not possible`);
  if (sizeBytes === 0) fail('a volume cannot have the size 0');
  if (sizeBytes > VOLUME_BYTES_MAX) {
    fail(`a volume has at most ${formatSize(VOLUME_BYTES_MAX)}; ${String(sizeBytes)} bytes were asked for`);
  }
  if (sizeBytes % blockBytes !== 0) {
    const below = Math.floor(sizeBytes / blockBytes) * blockBytes;
    const near =
      below === 0
        ? `the smallest is ${String(blockBytes)}`
        : `the nearest are ${String(below)} and ${String(below + blockBytes)}`;
    fail(
      `a volume size of ${String(sizeBytes)} bytes is not a multiple of the block size, ${String(blockBytes)}: ${near}`,
    );
  }
  return sizeBytes;
}

/** Returns the block size in bytes, or throws ModelError BLOCK_SIZE. */
export function checkBlockBytes(blockBytes: number): number {
  const powerOfTwo = Number.isInteger(Math.log2(blockBytes));
  if (!powerOfTwo || blockBytes < BLOCK_BYTES_MIN || blockBytes > BLOCK_BYTES_MAX) {
    const message = `a block size of ${String(blockBytes)} bytes is not possible: it is 4096, 8192, 16384, 32768 or 65536`;
    throw new ModelError(message, { code: 'BLOCK_SIZE', blockBytes });
  }
  return blockBytes;
}

/** Returns the number of copies wanted, or throws ModelError REPLICAS. */
export function checkReplicas(replicas: number): number {
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > REPLICAS_MAX) {
    const message = `${String(replicas)} replicas are not possible: from 1 to ${String(REPLICAS_MAX)}`;
    throw new ModelError(message, { code: 'REPLICAS', replicas });
  }
  return replicas;
}

/** Returns the type that the text names, or throws ModelError VOLUME_TYPE. */
export function checkVolumeType(text: string): VolumeType {
  const found = VOLUME_TYPES.find((type) => type === text);
  if (found === undefined) {
    const message = `volume type ${JSON.stringify(text)} does not exist: it is ${VOLUME_TYPES.join(', ')}`;
    throw new ModelError(message, { code: 'VOLUME_TYPE', volumeType: text });
  }
  return found;
}
