import { existsSync } from 'node:fs';
import type { ControlClient } from '../../ipc/client.js';
import type { CreateVolumeRequest, Volume } from '../../ipc/generated/control.js';
import { messageOf } from '../../base/errors.js';
import { failure } from '../cli-error.js';
import type { Progress } from './progress.js';
import { convertImage } from './qemu-img.js';

/** Marks a volume that is being filled, for whoever finds it after this program was killed. */
export const INCOMPLETE_LABEL = 'import';
const INCOMPLETE = 'incomplete';

export interface ForeignImage {
  readonly image: string;
  readonly format: string;
  readonly sizeBytes: number;
}

/**
 * Makes a volume of an image in another format: qemu-img writes into a temporary export of a new volume. `client`
 * must outlast an interruption, because what was made is removed again when anything fails.
 */
export async function importForeign(
  client: ControlClient,
  source: ForeignImage,
  create: CreateVolumeRequest,
  signal: AbortSignal,
  progress: Progress,
): Promise<Volume> {
  const { id } = await client.createVolume({
    ...create,
    labels: { ...create.labels, [INCOMPLETE_LABEL]: INCOMPLETE },
  });
  try {
    const exported = await client.exportVolume({ volume: id, readOnly: false });
    const conversion = {
      from: source.image,
      fromFormat: source.format,
      to: reachableUri(exported),
      toFormat: 'raw',
      intoEmptyTarget: true,
    };
    await convertImage(conversion, signal, (fraction) => {
      progress.update(fraction * source.sizeBytes);
    });
    await client.unexportVolume({ volume: id, force: true });
    const removeLabels = [INCOMPLETE_LABEL].filter((label) => !(label in create.labels));
    const setLabels = removeLabels.length === 0 ? create.labels : {};
    return await client.updateVolume({ volume: id, setLabels, removeLabels, protected: undefined });
  } catch (thrown) {
    await removeAgain(client, id, create.name);
    throw thrown;
  }
}

/** Writes a volume to the file at `path` in another format, through its export or a temporary read-only one. */
export async function exportForeign(
  client: ControlClient,
  volume: Volume,
  path: string,
  format: string,
  signal: AbortSignal,
  progress: Progress,
): Promise<void> {
  const wasExported = volume.export !== undefined;
  const exported = wasExported ? volume : await client.exportVolume({ volume: volume.id, readOnly: true });
  try {
    const from = reachableUri(exported);
    const conversion = { from, fromFormat: 'raw', to: path, toFormat: format, intoEmptyTarget: false };
    await convertImage(conversion, signal, (fraction) => {
      progress.update(fraction * volume.sizeBytes);
    });
  } finally {
    if (!wasExported) await client.unexportVolume({ volume: volume.id, force: true });
  }
}

/** The socket if it is on this machine, else the TCP address. */
function reachableUri(volume: Volume): string {
  const { uri = '', socketUri = '' } = volume.export ?? {};
  const socket = /[?&]socket=([^&]+)/.exec(socketUri)?.[1];
  if (socket !== undefined && existsSync(decodeURIComponent(socket))) return socketUri;
  if (uri !== '') return uri;
  throw failure(`the export of ${volume.name} is not reachable from this machine (${socketUri}); run gfs where it is`);
}

async function removeAgain(client: ControlClient, id: string, name: string): Promise<void> {
  try {
    await client.deleteVolume({ volume: id, force: true, withSnapshots: false });
  } catch (thrown) {
    throw failure(
      `the import failed, and the unfinished volume ${name} could not be removed (${messageOf(thrown)}); ` +
        `do it with: gfs volume delete ${name} --force`,
      thrown,
    );
  }
}
