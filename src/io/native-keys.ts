import { addon } from './addon.js';
import type { BlockKeys, KeyringId, SealingKeyId } from './block-keys.js';

/** Keys in the addon. Wrong ids, numbers and lengths are mistakes of ours: RangeError. */
export class NativeBlockKeys implements BlockKeys {
  createKeyring(allowPlain: boolean): KeyringId {
    return addon.createKeyring(allowPlain) as KeyringId;
  }

  addDataKey(keyring: KeyringId, number: number, dataKey: Uint8Array): void {
    addon.addDataKey(keyring, number, dataKey);
  }

  releaseKeyring(keyring: KeyringId): void {
    addon.releaseKeyring(keyring);
  }

  /** A keyring that allows no plain blocks gives no plain sealing key either. */
  createSealingKey(keyring: KeyringId, number: number, salt: Uint8Array): SealingKeyId {
    return addon.createSealingKey(keyring, number, salt) as SealingKeyId;
  }

  releaseSealingKey(key: SealingKeyId): void {
    addon.releaseSealingKey(key);
  }

  /** Without the memory to prove them in, none is proven. */
  proveSealed(keyring: KeyringId, bytes: Uint8Array, blockBytes: number, first: number): number {
    return Math.max(0, addon.proveSealed(keyring, bytes, blockBytes, first));
  }
}
