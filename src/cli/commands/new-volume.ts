/** What `volume create`, `volume import` and `volume receive` ask for alike. */
import { parseSize } from '../../base/size.js';
import type { CreateVolumeRequest } from '../../ipc/generated/control.js';
import { usageError } from '../cli-error.js';
import type { OptionSpecs, OptionValues } from '../option-spec.js';
import { parseCount, parseLabels } from '../option-values.js';
import { changesQos, QOS_OPTIONS, qosChangeOf } from '../qos-options.js';

const VOLUME_TYPES = ['ephemeral', 'persistent', 'shared'];

/** What a volume is born with, whatever fills it. */
export const BIRTH_OPTIONS = {
  'storage-class': {
    kind: 'text',
    alias: 'c',
    summary: 'policy that it is born with (default: encrypted-storage)',
    value: 'CLASS',
    completes: 'storage-class',
  },
  'volume-type': { kind: 'text', alias: 't', summary: 'default: persistent', choices: VOLUME_TYPES },
  replicas: { kind: 'text', alias: 'r', summary: 'copies wanted (default: as the class says)', value: 'N' },
  label: { kind: 'texts', alias: 'l', summary: 'a label', value: 'KEY=VALUE' },
  'qos-policy': {
    kind: 'text',
    summary: 'limits and guarantees it is born with (default: as the class says)',
    value: 'POLICY',
    completes: 'qos-policy',
  },
  ...QOS_OPTIONS,
} as const satisfies OptionSpecs;

export const NEW_VOLUME_OPTIONS = {
  name: { kind: 'text', alias: 'n', summary: 'name of the new volume', value: 'NAME' },
  ...BIRTH_OPTIONS,
  'block-size': { kind: 'text', summary: 'block size, 4K to 64K (default: as the daemon says)', value: 'SIZE' },
} as const satisfies OptionSpecs;

/** The name, from the word or the option; throws USAGE, with `usage`, when there is none, or two. */
export function newVolumeName(word: string | undefined, option: string | undefined, usage: string): string {
  if (word !== undefined && option !== undefined && word !== option) {
    throw usageError(`two names are given, "${word}" and "${option}"; one volume has one`);
  }
  const name = word ?? option;
  if (name === undefined) throw usageError(`NAME is missing: ${usage}`);
  return name;
}

/** `sizeBytes` is for the caller to say. Throws USAGE, or UnitError for a size that cannot be read. */
export function newVolumeRequest(
  name: string,
  sizeBytes: number,
  options: OptionValues<typeof BIRTH_OPTIONS> & { readonly 'block-size'?: string | undefined },
): CreateVolumeRequest {
  const change = qosChangeOf(options);
  const policy = options['qos-policy'] ?? '';
  return {
    name,
    sizeBytes,
    storageClass: options['storage-class'] ?? '',
    volumeType: options['volume-type'] ?? '',
    replicas: options.replicas === undefined ? 0 : parseCount('--replicas', options.replicas, 1),
    labels: parseLabels('--label', options.label),
    blockBytes: options['block-size'] === undefined ? 0 : parseSize(options['block-size']),
    ...(policy !== '' || changesQos(change) ? { qos: { policy, change } } : {}),
  };
}
