import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { NO_QOS } from '../../src/model/qos-settings.js';
import { parseScheduleRow, parseSnapshotRow, parseVolumeRow } from '../../src/model/row-shape.js';
import type { ScheduleRow } from '../../src/model/schedule-row.js';
import type { SnapshotRow } from '../../src/model/snapshot-row.js';
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
  origin: '',
  qos: null,
};

const SNAPSHOT: SnapshotRow = {
  id: '1f8fad5b-d9cb-469f-a165-70867728950e',
  name: 'monday',
  volumeId: ROW.id,
  layer: 6,
  sizeBytes: 2 ** 30,
  blockBytes: 4096,
  createdAtMs: 1_700_000_000_000,
  epoch: 2,
  dataKeyNumbers: [1],
  encrypted: true,
  plainBlocks: false,
  held: false,
  origin: 'manual',
  labels: {},
  exported: false,
  streamId: '1f8fad5b-d9cb-469f-a165-70867728950e',
  phase: 'live',
};

const SCHEDULE: ScheduleRow = {
  volumeId: ROW.id,
  cron: '0 * * * *',
  timeZone: 'Europe/Berlin',
  keep: { last: 24, hourly: 0, daily: 7, weekly: 0, monthly: 0 },
  sinceMs: 5,
  last: { atMs: 6, ok: true, text: 'auto-1', deleted: 0 },
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

  it('takes a row that is older than clones and quality of service', () => {
    const old = Object.fromEntries(Object.entries(ROW).filter(([field]) => field !== 'origin' && field !== 'qos'));
    expect(parseVolumeRow(old, 'volumes/1')).toEqual(ROW);
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
    ['limits that cannot be', { ...ROW, qos: { policy: '', settings: { ...NO_QOS, burstMultiplier: 2 } } }, /fit/],
    ['no row at all', null, /shape/],
  ])('reports %s', (_, row, message) => {
    expect(() => parseVolumeRow(row, 'volumes/1')).toThrow(message);
    expect(() => parseVolumeRow(row, 'volumes/1')).toThrow(ModelError);
  });
});

describe('rows of snapshots and schedules', () => {
  it('come back as they were stored', () => {
    expect(parseSnapshotRow(JSON.parse(JSON.stringify(SNAPSHOT)), 'snapshot/1')).toEqual(SNAPSHOT);
    expect(parseScheduleRow(JSON.parse(JSON.stringify(SCHEDULE)), 'schedule/1')).toEqual(SCHEDULE);
    expect(parseScheduleRow({ ...SCHEDULE, last: null }, 'schedule/1').last).toBeNull();
  });

  it.each([
    ['an unknown origin', { ...SNAPSHOT, origin: 'dream' }, /origin/],
    ['an unknown field', { ...SNAPSHOT, colour: 'blue' }, /colour/],
    ['no layer', { ...SNAPSHOT, layer: -1 }, /layer/],
  ])('are reported with %s', (_, row, message) => {
    expect(() => parseSnapshotRow(row, 'snapshot/1')).toThrow(message);
  });

  it('are reported without what they keep', () => {
    expect(() => parseScheduleRow({ ...SCHEDULE, keep: null }, 'schedule/1')).toThrow(ModelError);
  });
});
