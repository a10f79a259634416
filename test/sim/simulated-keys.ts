import { hkdfSync } from 'node:crypto';
import { crc32c } from '../../src/base/crc32c.js';
import { OpenStatus } from '../../src/io/open-batch.js';
import { openBlock } from './block-seal.js';
import type { KeyLookup, Keyring, SealingKey } from './key-lookup.js';
import { PLAIN_KEY_NUMBER, type BlockKeys, type KeyringId, type SealingKeyId } from '../../src/io/block-keys.js';

const DATA_KEY_BYTES = 32;
const SALT_BYTES = 16;
const SUM = {
  crc32c: (bytes: Uint8Array, offset: number, length: number, seed: number): number =>
    crc32c(bytes.subarray(offset, offset + length), seed),
};

/** HKDF-SHA256 as native/block-format.h says. */
function deriveBlockKey(dataKey: Uint8Array, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', dataKey, salt, 'galleon block key v1', DATA_KEY_BYTES));
}

const nameOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The keys of one process, in memory. */
export class SimulatedKeys implements BlockKeys, KeyLookup {
  readonly #keyrings = new Map<number, Keyring>();
  readonly #sealing = new Map<number, SealingKey>();
  readonly #derived = new Map<string, Uint8Array>();
  #lastId = 0;

  createKeyring(allowPlain: boolean): KeyringId {
    const id = (this.#lastId += 1);
    this.#keyrings.set(id, { allowPlain, keys: new Map() });
    return id as KeyringId;
  }

  addDataKey(keyring: KeyringId, number: number, dataKey: Uint8Array): void {
    const { keys } = this.keyring(keyring);
    if (number < 1 || number > 0xffffffff || dataKey.length !== DATA_KEY_BYTES || keys.has(number)) {
      throw new RangeError('a data key has 32 bytes and a number of its own');
    }
    keys.set(number, dataKey.slice());
  }

  releaseKeyring(keyring: KeyringId): void {
    this.#keyrings.delete(keyring);
  }

  createSealingKey(keyring: KeyringId, number: number, salt: Uint8Array): SealingKeyId {
    const { allowPlain, keys } = this.keyring(keyring);
    if (salt.length !== SALT_BYTES) throw new RangeError('a salt has 16 bytes');
    const dataKey = keys.get(number);
    if (number === PLAIN_KEY_NUMBER ? !allowPlain : dataKey === undefined) {
      throw new RangeError('a sealing key is made from a key of its ring');
    }
    const key = dataKey === undefined ? null : deriveBlockKey(dataKey, salt);
    const id = (this.#lastId += 1);
    this.#sealing.set(id, {
      number,
      salt: salt.slice(),
      key,
      name: key === null ? `plain ${nameOf(salt)}` : nameOf(key),
    });
    return id as SealingKeyId;
  }

  releaseSealingKey(key: SealingKeyId): void {
    this.#sealing.delete(key);
  }

  proveSealed(keyring: KeyringId, bytes: Uint8Array, blockBytes: number, first: number): number {
    const storedBytes = blockBytes + blockBytes / 64;
    const destination = new Uint8Array(storedBytes);
    const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const count = all.length / storedBytes;
    for (let n = 0; n < count; n += 1) {
      const row = {
        file: 0,
        offset: 0,
        storedBytes,
        generation: 0,
        index: first + n,
        keyring: this.keyring(keyring),
        destination,
        isSealed: true,
      };
      if (openBlock(row, all.subarray(n * storedBytes, (n + 1) * storedBytes), this, SUM, true) !== OpenStatus.OK)
        return n;
    }
    return count;
  }

  keyring(id: number): Keyring {
    const keyring = this.#keyrings.get(id);
    if (keyring === undefined) throw new RangeError('no such keyring');
    return keyring;
  }

  sealing(id: number): SealingKey {
    const key = this.#sealing.get(id);
    if (key === undefined) throw new RangeError('no such sealing key');
    return key;
  }

  /** The key under which blocks with this key number and salt were sealed, or null when the ring does not hold it. */
  opening(keyring: Keyring, number: number, salt: Uint8Array): Uint8Array | null {
    const dataKey = keyring.keys.get(number);
    if (dataKey === undefined) return null;
    const name = nameOf(dataKey) + nameOf(salt);
    let key = this.#derived.get(name);
    if (key === undefined) this.#derived.set(name, (key = deriveBlockKey(dataKey, salt)));
    return key;
  }
}
