import { status } from '@grpc/grpc-js';
import type { ControlPlane } from '../../control/control-plane.js';
import type { KeyStatus, VolumeKeysView } from '../../control/master-keys.js';
import type { EncryptionChange } from '../../control/volume-encryption.js';
import type { KeysServer, KeyStatusResponse, VolumeKeys, VolumeKeysResponse } from '../generated/keys.js';
import type { CallGate } from './call-gate.js';
import { unary } from './call-handlers.js';
import { CallRefused } from './to-status.js';

const ALGORITHM = 'AES-256-GCM';

/**
 * The service Keys of keys.proto. `local`: whoever calls is on this machine, and so may name a program that the daemon runs;
 * over the network the token is for volumes, not for running programs here.
 */
export function keysService(
  gate: CallGate,
  { masterKeys, encryption }: ControlPlane,
  { local }: { readonly local: boolean },
): KeysServer {
  return {
    status: unary(gate, async () => toStatus(await masterKeys.status())),
    rotateMaster: unary(gate, async (request, caller) => {
      if (!local && request.keyCommand.length > 0) {
        throw new CallRefused(
          status.FAILED_PRECONDITION,
          'a daemon whose control API listens on the network takes no key command over it: start it with a loopback ' +
            '--ipc-address for this change',
        );
      }
      const { settings, ...rotation } = await masterKeys.rotate(request, caller);
      return { ...rotation, settings: { settings: { ...settings } } };
    }),
    exportRecovery: unary(gate, async (request, caller) => {
      const passphrase = Uint8Array.from(request.passphrase);
      request.passphrase.fill(0);
      const { bytes, keys, volumes } = await masterKeys.exportRecovery(passphrase, caller);
      return { recovery: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), keys, volumes };
    }),
    rotateData: unary(gate, async ({ volume }, caller) => toChange(await encryption.rotate(volume, caller))),
    encrypt: unary(gate, async ({ volume }, caller) => toChange(await encryption.encrypt(volume, caller))),
    decrypt: unary(gate, async ({ volume }, caller) => toChange(await encryption.decrypt(volume, caller))),
  };
}

function toStatus({ settings, volumes, ...status }: KeyStatus): KeyStatusResponse {
  return { ...status, settings: { settings: { ...settings } }, volumes: volumes.map(toVolumeKeys) };
}

function toVolumeKeys({ keys, resealing, ...volume }: VolumeKeysView): VolumeKeys {
  return { ...volume, resealing: resealing ?? undefined, keys: keys.map((key) => ({ ...key, algorithm: ALGORITHM })) };
}

function toChange({ id, name, keyNumber, retired }: EncryptionChange): VolumeKeysResponse {
  return { id, name, keyNumber, retired: [...retired] };
}
