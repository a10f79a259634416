import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { checkBlockBytes, checkReplicas, checkVolumeSize, checkVolumeType } from '../../src/model/volume-size.js';

describe('checkVolumeSize', () => {
  it.each([
    [4096, 4096],
    [2 ** 50, 65536],
  ])('takes %d bytes in blocks of %d', (sizeBytes, blockBytes) => {
    expect(checkVolumeSize(sizeBytes, blockBytes)).toBe(sizeBytes);
  });

  it.each([
    [0, 4096, /size 0/],
    [-4096, 4096, /-4096 bytes is not possible/],
    [NaN, 4096, /not possible/],
    [4097, 4096, /not a multiple of the block size, 4096: the nearest are 4096 and 8192/],
    [100, 4096, /the smallest is 4096/],
    [4096.5, 4096, /not a multiple/],
    [2 ** 50 + 4096, 4096, /at most 1 PiB/],
  ])('refuses %d bytes in blocks of %d, with the reason', (sizeBytes, blockBytes, message) => {
    expect(() => checkVolumeSize(sizeBytes, blockBytes)).toThrow(message);
    expect(() => checkVolumeSize(sizeBytes, blockBytes)).toThrow(ModelError);
  });
});

describe('the other numbers of a volume', () => {
  it('takes the five block sizes and no other', () => {
    for (const blockBytes of [4096, 8192, 16384, 32768, 65536]) expect(checkBlockBytes(blockBytes)).toBe(blockBytes);
    for (const blockBytes of [0, -4096, 512, 2048, 5000, 131072, NaN, 4096.5]) {
      expect(() => checkBlockBytes(blockBytes)).toThrow(/it is 4096, 8192, 16384, 32768 or 65536/);
    }
  });

  it('takes 1 to 7 replicas', () => {
    expect([1, 7].map(checkReplicas)).toEqual([1, 7]);
    for (const replicas of [0, 8, 1.5, -1]) expect(() => checkReplicas(replicas)).toThrow(/from 1 to 7/);
  });

  it('names the volume types', () => {
    expect(checkVolumeType('shared')).toBe('shared');
    expect(() => checkVolumeType('Shared')).toThrow(/"Shared" does not exist: it is ephemeral, persistent, shared/);
  });
});
