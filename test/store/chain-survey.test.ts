import { describe, expect, it } from 'vitest';
import type { Candidate, ScanResult, ScanSegment } from '../../src/store/journal/journal-scan.js';
import { strandedSegment } from '../../src/store/chain-survey.js';

const segment = (slot: number, generation: number): ScanSegment => ({
  slot,
  generation,
  stampLow: slot,
  stampHigh: generation,
  segmentBytes: 1 << 20,
});

function candidate(slot: number, generation: number, before: [number, number], nextSequence: number): Candidate {
  const own = segment(slot, generation);
  const predecessor = { slot: before[0], generation: before[1], cut: 1 << 20 };
  return {
    segment: own,
    header: { ...own, predecessor, nextSequence, durableUpTo: 0, tier: 0, nodeId: new Uint8Array(16) },
    lost: false,
  };
}

const ended = (last: ScanSegment, sequence: number): ScanResult => ({
  last,
  cut: 4096,
  sequence,
  segments: [last],
  records: 0,
  bytes: 0,
  droppedRecords: 0,
});

describe('a segment that the walk never reached', () => {
  const saying = (durableUpTo: number) => () => Promise.resolve(durableUpTo);

  it('is stranded when its predecessor is not to be found', async () => {
    const lost = candidate(3, 9, [2, 8], 120);
    const survey = { candidates: [lost], rows: [], generationMax: 9 };
    expect(await strandedSegment(survey, ended(segment(1, 7), 100), saying(100))).toBe(lost);
  });

  it('is no loss when nothing behind the end was ever durable', async () => {
    // A power cut kept this header of three segments that no sync had covered, and lost the one before.
    const left = candidate(3, 9, [2, 8], 120);
    const survey = { candidates: [left], rows: [], generationMax: 9 };
    expect(await strandedSegment(survey, ended(segment(1, 7), 100), saying(99))).toBeNull();
  });

  it('is no loss when an earlier recovery cut it off and took its predecessor into use again', async () => {
    // Slots 2 and 3 followed slot 1 before a power loss; recovery cut slot 1 and went on in slot 2, generation 12.
    const cutOff = candidate(3, 9, [2, 8], 120);
    const survey = { candidates: [cutOff], rows: [], generationMax: 12 };
    expect(await strandedSegment(survey, ended(segment(2, 12), 100), saying(200))).toBeNull();
  });
});
