import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatSize, parseSize } from '../../base/size.js';
import type { CreateVolumeRequest, Volume } from '../../ipc/generated/control.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import { importForeign } from '../images/foreign-copy.js';
import { imageKind, IMPORT_FORMATS } from '../images/image-format.js';
import { openImage } from '../images/image-source.js';
import { Progress } from '../images/progress.js';
import { imageInfo, remoteScheme } from '../images/qemu-img.js';
import { importRaw } from '../images/raw-import.js';
import { toVolumeView } from '../output/volume-view.js';
import type { Session } from '../session.js';
import { NEW_VOLUME_OPTIONS, newVolumeName, newVolumeRequest } from './new-volume.js';

const BLOCK_BYTES_DEFAULT = 4096;

export const volumeImport = command({
  verb: ['volume', 'import'],
  summary: 'make a volume of an image: raw, or with qemu-img qcow2, vmdk, vhdx, vdi and more',
  details:
    'IMAGE is a file, a block device, or a URI (nbd://, nbd+unix://, http://, https://, ssh://) that qemu-img reads.\n' +
    'Nothing is left of the volume when it fails or is interrupted.\n' +
    'Example:\n  gfs volume import debian-12.qcow2 web-root -c encrypted-storage',
  words: {
    image: { summary: 'file or URI', required: true, completes: 'file' },
    name: { summary: 'name of the new volume; --name says the same' },
  },
  options: {
    ...NEW_VOLUME_OPTIONS,
    size: { kind: 'text', alias: 's', summary: 'a larger size than the image has', value: 'SIZE' },
    format: { kind: 'text', summary: 'format of the image (default: what it is)', choices: IMPORT_FORMATS },
  },
  async run(words, options, session) {
    const name = newVolumeName(words.name, options.name, `gfs volume import ${words.image} NAME`);
    const wishes = newVolumeRequest(name, options.size === undefined ? 0 : parseSize(options.size), options);
    const volume = await importImage(session, words.image, options.format, wishes);
    session.output.answer(
      toVolumeView(volume),
      () =>
        `${volume.name} imported: ${formatSize(volume.sizeBytes)}, ${formatSize(volume.allocatedBytes)} used, ` +
        `id ${volume.id}\nattach it after: gfs volume export ${volume.name}`,
    );
  },
});

async function importImage(
  session: Session,
  image: string,
  format: string | undefined,
  wishes: CreateVolumeRequest,
): Promise<Volume> {
  const remote = remoteScheme(image);
  if (remote?.known === false) throw usageError(`gfs cannot read ${remote.scheme}:// images; download it first`);
  if (remote !== undefined) {
    // What an NBD server serves is a disk as it is; a web server's file can be anything.
    const asked = format ?? (remote.scheme.startsWith('nbd') ? 'raw' : undefined);
    return foreign(session, image, asked, wishes);
  }
  const path = session.path(image.startsWith('file://') ? fileURLToPath(image) : image);
  const source = await openImage(path, image);
  try {
    const kind = imageKind(source.head);
    if (format === undefined && kind.kind === 'compressed') {
      throw usageError(`${image} is compressed by ${kind.by}; decompress it first (or take it as it is: --format raw)`);
    }
    const found = format ?? (kind.kind === 'foreign' ? kind.format : 'raw');
    if (found !== 'raw') return await foreign(session, path, found, wishes);
    const create = await withSize(session, wishes, source.sizeBytes, image);
    const progress = new Progress(session.world.stderr, `import ${basename(path)}`, source.sizeBytes);
    try {
      return await importRaw(await session.client(), source, create, session.signal, progress);
    } finally {
      progress.stop();
    }
  } finally {
    await source.file.close();
  }
}

async function foreign(
  session: Session,
  image: string,
  format: string | undefined,
  wishes: CreateVolumeRequest,
): Promise<Volume> {
  const info = await imageInfo(image, format, session.signal);
  if (info.backingFile !== undefined) session.output.note(`${image} stands on ${info.backingFile}, which is read too`);
  const create = await withSize(session, wishes, info.virtualSizeBytes, image);
  const progress = new Progress(session.world.stderr, `import ${basename(image)}`, info.virtualSizeBytes);
  try {
    const source = { image, format: info.format, sizeBytes: info.virtualSizeBytes };
    return await importForeign(await session.lastingClient(), source, create, session.signal, progress);
  } finally {
    progress.stop();
  }
}

/** A volume is a whole number of blocks; an image need not be, and is followed by zeros then. */
async function withSize(
  session: Session,
  wishes: CreateVolumeRequest,
  imageBytes: number,
  image: string,
): Promise<CreateVolumeRequest> {
  if (wishes.sizeBytes > 0) {
    if (wishes.sizeBytes >= imageBytes) return wishes;
    throw usageError(`${image} is ${formatSize(imageBytes)} and does not fit --size; leave it out or make it larger`);
  }
  const blockBytes = wishes.blockBytes || (await (await session.client()).status()).blockBytes || BLOCK_BYTES_DEFAULT;
  const sizeBytes = Math.ceil(imageBytes / blockBytes) * blockBytes;
  if (sizeBytes !== imageBytes) {
    session.output.note(
      `${image} is no whole number of blocks: ${String(sizeBytes - imageBytes)} zero bytes follow it`,
    );
  }
  return { ...wishes, sizeBytes };
}
