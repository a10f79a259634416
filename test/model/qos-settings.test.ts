import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { parseQosPolicy } from '../../src/model/qos-policy-document.js';
import { changedQos, checkQos, isNoQos, NO_QOS, type QosSettings } from '../../src/model/qos-settings.js';
import { parseQosPolicyRow } from '../../src/model/row-shape.js';

const MIB = 1024 * 1024;

function faultOf(settings: Partial<QosSettings>): [fields: readonly string[], text: string] {
  try {
    checkQos({ ...NO_QOS, ...settings });
  } catch (thrown) {
    if (thrown instanceof ModelError && thrown.fault.code === 'QOS') return [thrown.fault.fields, thrown.message];
    throw thrown;
  }
  return [[], ''];
}

describe('checkQos', () => {
  it('takes what makes sense', () => {
    for (const settings of [
      {},
      { iops: 1 },
      { throughput: 64 * 1024 },
      { readIops: 5, writeIops: 10_000_000 },
      { iops: 100, readIops: 100, guaranteedIops: 100 },
      { iops: 100, burstMultiplier: 1.5, burstDurationMs: 1000 },
      { guaranteedThroughput: MIB },
    ])
      expect(faultOf(settings)).toEqual([[], '']);
  });

  it.each([
    [{ iops: -1 }, 'iops', 'give a whole number from 1 to 10000000'],
    [{ iops: 1.5 }, 'iops', 'whole number'],
    [{ writeIops: 10_000_001 }, 'write_iops', 'whole number'],
    [{ guaranteedIops: NaN }, 'guaranteed_iops', 'whole number'],
    [{ throughput: 1000 }, 'throughput', 'give 64 KiB to 1 TiB'],
    [{ readThroughput: 2 ** 41 }, 'read_throughput', 'give 64 KiB'],
    [{ iops: 5, burstMultiplier: 0.5, burstDurationMs: 1000 }, 'burst_multiplier', 'give 1 (no burst) to 100'],
    [{ iops: 5, burstMultiplier: 2 }, 'burst_duration', 'a burst needs one; give 1s to 1d'],
    [{ iops: 5, burstMultiplier: 2, burstDurationMs: 10 }, 'burst_duration', '10 ms is not allowed'],
    [{ iops: 5, burstDurationMs: 1000 }, 'burst_duration', 'give burst_multiplier too'],
    [{ guaranteedIops: 5, burstMultiplier: 2, burstDurationMs: 1000 }, 'burst_multiplier', 'no limit to multiply'],
    [{ iops: 10, readIops: 11 }, 'read_iops', 'lower it or raise iops'],
    [{ throughput: MIB, guaranteedThroughput: 2 * MIB }, 'guaranteed_throughput', 'above throughput 1048576'],
  ])('names the field and what to do: %j', (settings, field, text) => {
    const [fields, message] = faultOf(settings);
    expect(fields).toEqual([field]);
    expect(message).toContain(`${field}: `);
    expect(message).toContain(text);
  });

  it('says everything at once', () => {
    expect(faultOf({ iops: -1, throughput: 5, burstDurationMs: 5 })[0]).toEqual([
      'iops',
      'throughput',
      'burst_duration',
    ]);
  });
});

describe('a change', () => {
  it('leaves what it does not name, and 0 takes away', () => {
    const before = { ...NO_QOS, iops: 100, throughput: MIB, burstMultiplier: 2, burstDurationMs: 5000 };
    expect(changedQos(before, { iops: 200, throughput: undefined })).toEqual({ ...before, iops: 200 });
    expect(changedQos(before, { throughput: 0 })).toEqual({ ...before, throughput: 0 });
    expect(changedQos(before, { burstMultiplier: 0 })).toEqual({ ...NO_QOS, iops: 100, throughput: MIB });
    expect(isNoQos(changedQos(before, { iops: 0, throughput: 0 }))).toBe(true);
    expect(isNoQos(before)).toBe(false);
  });
});

describe('parseQosPolicy', () => {
  it('takes the example, and its row comes back as it was', async () => {
    const name = 'qos-database.yaml';
    const policy = parseQosPolicy(await readFile(new URL(`../../examples/${name}`, import.meta.url), 'utf8'), name, 5);
    expect(policy).toMatchObject({
      name: 'database',
      settings: { iops: 10_000, throughput: 400 * MIB, burstDurationMs: 300_000, guaranteedIops: 2000, readIops: 0 },
    });
    expect(parseQosPolicyRow(JSON.parse(JSON.stringify(policy)), name)).toEqual(policy);
  });

  it('reads JSON and YAML alike, typed or as text', () => {
    const json = parseQosPolicy('{"name":"p","parameters":{"iops":"100","throughput":1048576}}', 'p.json', 0);
    const yaml = parseQosPolicy('name: p\nparameters: {iops: 100, throughput: 1M/s}', 'p.yaml', 0);
    expect(json).toEqual(yaml);
    expect(json.settings).toEqual({ ...NO_QOS, iops: 100, throughput: MIB });
  });

  it('names every wrong field at once, with its line and what is allowed', () => {
    const document = 'name: P\nparameters:\n  iops: many\n  throughput: 5Q\n  burst_duration: 5\n  colour: 1\n';
    let message = '';
    try {
      parseQosPolicy(document, 'p.yaml', 0);
    } catch (thrown) {
      message = (thrown as ModelError).message;
    }
    expect(message).toContain('p.yaml:1: name: "P" has "P" at position 1');
    expect(message).toContain('p.yaml:3: parameters.iops: "many" is not allowed; allowed: a whole number');
    expect(message).toContain('p.yaml:4: parameters.throughput: "5Q" is not allowed');
    expect(message).toContain('p.yaml:5: parameters.burst_duration: 5 is not allowed');
    expect(message).toContain('p.yaml:6: parameters.colour: unknown field; allowed here: iops, throughput');
  });

  it('refuses fields that do not go together, and a policy of nothing', () => {
    expect(() => parseQosPolicy('name: p\nparameters:\n  iops: 5\n  burst_multiplier: 2\n', 'p.yaml', 0)).toThrow(
      'parameters.burst_duration: a burst needs one',
    );
    expect(() => parseQosPolicy('name: p\nparameters:\n  iops: 5\n  read_iops: 6\n', 'p.yaml', 0)).toThrow(
      'p.yaml:4: parameters.read_iops: 6 is above iops 5',
    );
    expect(() => parseQosPolicy('name: p', 'p.yaml', 0)).toThrow('nothing is limited or guaranteed');
  });
});
