import type { ClientChannel } from './client-channel.js';
import type {
  ExportRecoveryResponse,
  KeysClient,
  KeyStatusResponse,
  RotateMasterRequest,
  RotateMasterResponse,
  VolumeKeysResponse,
} from './generated/keys.js';

/** The verbs of the service Keys as promises; failures are ClientError. */
export class KeyCalls {
  readonly #channel: ClientChannel;
  readonly #keys: KeysClient;

  constructor({ channel, keys }: { readonly channel: ClientChannel; readonly keys: KeysClient }) {
    this.#channel = channel;
    this.#keys = keys;
  }

  status(): Promise<KeyStatusResponse> {
    return this.#channel.unary((r, m, o, done) => this.#keys.status(r, m, o, done), {});
  }

  rotateMaster(request: RotateMasterRequest): Promise<RotateMasterResponse> {
    return this.#channel.unary((r, m, o, done) => this.#keys.rotateMaster(r, m, o, done), request);
  }

  /** The passphrase is the caller's to wipe. */
  exportRecovery(passphrase: Buffer): Promise<ExportRecoveryResponse> {
    return this.#channel.unary((r, m, o, done) => this.#keys.exportRecovery(r, m, o, done), { passphrase });
  }

  rotateData(volume: string): Promise<VolumeKeysResponse> {
    return this.#channel.unary((r, m, o, done) => this.#keys.rotateData(r, m, o, done), { volume });
  }

  encrypt(volume: string): Promise<VolumeKeysResponse> {
    return this.#channel.unary((r, m, o, done) => this.#keys.encrypt(r, m, o, done), { volume });
  }

  decrypt(volume: string): Promise<VolumeKeysResponse> {
    return this.#channel.unary((r, m, o, done) => this.#keys.decrypt(r, m, o, done), { volume });
  }
}
