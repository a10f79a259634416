import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { checkSnapshotName, generatedSnapshotName, parsePoint, pointName } from '../../src/model/snapshot-name.js';
import { checkVolumeName } from '../../src/model/volume-name.js';

const AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5);

describe('names of snapshots', () => {
  it.each(['monday', '2026-01-02', 'v1.2_final', 'a'.repeat(63)])('%s is fine', (name) => {
    expect(checkSnapshotName(name)).toBe(name);
  });

  it.each(['', 'a@b', 'Monday', 'a/b', 'a:b', '..', 'a'.repeat(64)])('%j is refused', (name) => {
    expect(() => checkSnapshotName(name)).toThrow(ModelError);
    expect(() => checkSnapshotName(name)).toThrow(/^snapshot name /);
  });

  it('have a mark that no volume has in its name', () => {
    expect(() => checkVolumeName('web@monday')).toThrow('"@" at position 4');
  });

  it('stand behind their volume', () => {
    expect(parsePoint('web')).toEqual({ volume: 'web', snapshot: null });
    expect(parsePoint('web@monday')).toEqual({ volume: 'web', snapshot: 'monday' });
    expect(parsePoint('web@')).toEqual({ volume: 'web', snapshot: '' });
    expect(pointName('web', 'monday')).toBe('web@monday');
  });

  it('are made up of purpose and moment, and counted when taken', () => {
    expect(generatedSnapshotName('manual', AT_MS, () => false)).toBe('snap-2026-01-02-030405');
    expect(generatedSnapshotName('schedule', AT_MS, () => false)).toBe('auto-2026-01-02-030405');
    const taken = new Set(['safety-2026-01-02-030405', 'safety-2026-01-02-030405-2']);
    const made = generatedSnapshotName('safety', AT_MS, (name) => taken.has(name));
    expect(made).toBe('safety-2026-01-02-030405-3');
    expect(checkSnapshotName(made)).toBe(made);
  });
});
