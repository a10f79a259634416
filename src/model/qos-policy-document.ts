/**
 * Policies of quality of service, JSON or YAML, in the shape of examples/:
 *
 *   name                     required; 1 to 63 of a-z 0-9 - _ .
 *   parameters
 *     iops                     operations a second at most, reads and changes together
 *     throughput               bytes a second at most: 100M, or a number of bytes
 *     read_iops, write_iops, read_throughput, write_throughput
 *                              the same for reads, or changes, alone
 *     burst_multiplier         a rested volume may do so many times its limits: 2, 1.5
 *     burst_duration           ... for so long: 300s, 5m
 *     guaranteed_iops, guaranteed_throughput
 *                              what a volume gets at least while the node is saturated
 *
 * At least one limit or guarantee. Numbers may be typed or text. There are no other fields.
 */
import { z } from 'zod';
import { parseDuration } from '../base/duration.js';
import { messageOf } from '../base/errors.js';
import { parseThroughput } from '../base/size.js';
import { describe, documentName, readDocument } from './document.js';
import { CLASS_NAME_LENGTH_MAX } from './limits.js';
import { isNoQos, NO_QOS, QOS_FIELDS, qosProblems, type QosPolicy, type QosSettings } from './qos-settings.js';

const rate = read('a whole number, such as 1000', (text) => (/^\d{1,15}$/.test(text) ? Number(text) : NaN));
const throughput = read('bytes a second, such as 100M', parseThroughput);
const multiplier = read('a number, such as 2 or 1.5', (text) =>
  /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN,
);
const duration = read('a duration, such as 300s or 5m', parseDuration);

const parameters = z
  .strictObject({
    iops: rate.optional(),
    throughput: throughput.optional(),
    read_iops: rate.optional(),
    write_iops: rate.optional(),
    read_throughput: throughput.optional(),
    write_throughput: throughput.optional(),
    burst_multiplier: multiplier.optional(),
    burst_duration: duration.optional(),
    guaranteed_iops: rate.optional(),
    guaranteed_throughput: throughput.optional(),
  })
  .optional();

const policyDocument = z.strictObject({ name: documentName(CLASS_NAME_LENGTH_MAX), parameters });

type PolicyDocument = z.infer<typeof policyDocument>;

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(policyDocument.shape),
  parameters: Object.values(QOS_FIELDS),
};

/** `fileName` is for messages. Throws ModelError DOCUMENT that lists every problem at once. */
export function parseQosPolicy(document: string, fileName: string, createdAtMs: number): QosPolicy {
  const { data } = readDocument(document, fileName, {
    what: 'a policy of quality of service',
    schema: policyDocument,
    fields: FIELDS,
    problems: (policy) => {
      const settings = settingsOf(policy);
      if (isNoQos(settings)) {
        return [
          { path: ['parameters'], text: 'nothing is limited or guaranteed; give iops, throughput or guaranteed_iops' },
        ];
      }
      return qosProblems(settings).map(({ field, text }) => ({ path: ['parameters', QOS_FIELDS[field]], text }));
    },
  });
  return { name: data.name, settings: settingsOf(data), createdAtMs };
}

function settingsOf({ parameters: given = {} }: PolicyDocument): QosSettings {
  const fields = Object.entries(QOS_FIELDS) as [keyof QosSettings, (typeof QOS_FIELDS)[keyof QosSettings]][];
  return Object.fromEntries(fields.map(([field, name]) => [field, given[name] ?? NO_QOS[field]])) as Record<
    keyof QosSettings,
    number
  >;
}

/** A number above 0 that is written as a number or as text. `parse` throws, or answers NaN, for what it cannot read. */
function read(rule: string, parse: (text: string) => number): z.ZodType<number> {
  return z.unknown().transform((input, context): number => {
    let why = `allowed: ${rule}`;
    if (typeof input === 'string' || typeof input === 'number') {
      try {
        const value = parse(String(input));
        if (value > 0) return value;
      } catch (thrown) {
        why = messageOf(thrown);
      }
    }
    context.issues.push({ code: 'custom', input, message: `${describe(input)} is not allowed; ${why}` });
    return z.NEVER;
  });
}
