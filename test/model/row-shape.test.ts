import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { parseVolumeRow } from '../../src/model/row-shape.js';
import type { VolumeRow } from '../../src/model/volume-row.js';

const ROW: VolumeRow = {
  id: '0f8fad5b-d9cb-469f-a165-70867728950e',
  name: 'web-data',
  layer: 7,
  sizeBytes: 2 ** 30,
  blockBytes: 4096,
  storageClass: 'encrypted-storage',
  volumeType: 'persistent',
  replicasDesired: 3,
  createdAtMs: 1_700_000_000_000,
  labels: { app: 'web' },
  protected: false,
  epoch: 2,
  dataKeyNumbers: [1],
  plainBlocks: false,
  encrypted: true,
  export: { readOnly: false },
  retained: null,
  phase: 'live',
};

describe('parseVolumeRow', () => {
  it('gives back what was stored', () => {
    expect(parseVolumeRow(JSON.parse(JSON.stringify(ROW)), 'volumes/1')).toEqual(ROW);
    const retained = { ...ROW, phase: 'retained', export: null, retained: { sinceMs: 5, formerName: 'web-data' } };
    expect(parseVolumeRow(retained, 'volumes/1')).toEqual(retained);
  });

  it('knows of rows from before encryption could be turned on and off what they mean', () => {
    const { plainBlocks, ...before } = ROW;
    expect(parseVolumeRow(before, 'volumes/1').plainBlocks).toBe(plainBlocks);
    const plain = { ...before, encrypted: false, dataKeyNumbers: [] };
    expect(parseVolumeRow(plain, 'volumes/1').plainBlocks).toBe(true);
  });

  it.each([
    ['an unknown field', { ...ROW, colour: 'blue' }, /volumes\/1 .*colour/],
    ['a missing field', { ...ROW, epoch: undefined }, /epoch/],
    ['a wrong id', { ...ROW, id: '../etc' }, /id/],
    ['no encryption and no plain blocks', { ...ROW, encrypted: false }, /plain blocks/],
    ['encryption without keys', { ...ROW, dataKeyNumbers: [] }, /data keys/],
    ['a retained volume without a date', { ...ROW, phase: 'retained' }, /since when/],
    ['a live volume that is retained', { ...ROW, retained: { sinceMs: 5, formerName: 'x' } }, /not retained/],
    ['an epoch that is no nonce prefix', { ...ROW, epoch: 2 ** 32 }, /epoch/],
    ['no row at all', null, /shape/],
  ])('reports %s', (_, row, message) => {
    expect(() => parseVolumeRow(row, 'volumes/1')).toThrow(message);
    expect(() => parseVolumeRow(row, 'volumes/1')).toThrow(ModelError);
  });
});
