/** Zeros are looked for at this grain: coarse enough for one compare each, fine enough to keep sparse files sparse. */
export const GRAIN_BYTES = 4096;
const ZEROS = Buffer.alloc(GRAIN_BYTES);

export interface Run {
  readonly start: number;
  readonly end: number;
}

/** The ranges of `bytes` that are not zeros, at a grain of 4 KiB, in order. */
export function dataRuns(bytes: Buffer): Run[] {
  const runs: Run[] = [];
  let start = -1;
  for (let offset = 0; offset < bytes.length; offset += GRAIN_BYTES) {
    const end = Math.min(offset + GRAIN_BYTES, bytes.length);
    const isZero = bytes.compare(ZEROS, 0, end - offset, offset, end) === 0;
    if (isZero && start >= 0) {
      runs.push({ start, end: offset });
      start = -1;
    } else if (!isZero && start < 0) start = offset;
  }
  if (start >= 0) runs.push({ start, end: bytes.length });
  return runs;
}
