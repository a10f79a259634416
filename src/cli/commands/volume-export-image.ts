import { basename } from 'node:path';
import { formatSize } from '../../base/size.js';
import { command } from '../command.js';
import { exportForeign } from '../images/foreign-copy.js';
import { EXPORT_FORMATS, formatOfName } from '../images/image-format.js';
import { PartialFile } from '../images/partial-file.js';
import { Progress } from '../images/progress.js';
import { exportRaw } from '../images/raw-export.js';
import { VOLUME } from './volume-word.js';

export const volumeExportImage = command({
  verb: ['volume', 'export-image'],
  summary: 'copy a volume into an image file: raw, or with qemu-img qcow2, vmdk, vhdx, vdi and more',
  details:
    'The format follows the file name (disk.qcow2) unless --format says otherwise. A raw file is sparse. The file\n' +
    'appears when it is whole, readable for you only. Volumes that are written to at the time are copied as they\n' +
    'go; unmount them, or detach them, for an image that is one moment.\n' +
    'Example:\n  gfs volume export-image web-root web-root.qcow2',
  words: {
    volume: VOLUME,
    file: { summary: 'the file to make', required: true, completes: 'file' },
  },
  options: {
    format: { kind: 'text', summary: 'format of the file', choices: EXPORT_FORMATS },
    force: { kind: 'flag', alias: 'f', summary: 'replace the file if it exists' },
  },
  async run({ volume: reference, file }, { format, force }, session) {
    const { output, world } = session;
    const client = await session.client();
    const volume = await client.getVolume({ volume: reference, retained: true });
    if (volume.export?.connections.some(() => volume.export?.readOnly === false) === true) {
      output.note(`${volume.name} has clients that may write; the image may hold their writes in part`);
    }
    const chosen = format ?? formatOfName(file);
    const label = `export ${basename(file)}`;
    const partial = await PartialFile.create(session.path(file), file, force);
    try {
      if (chosen === 'raw') {
        await exportRaw(client, volume.id, partial.path, (sizeBytes) => new Progress(world.stderr, label, sizeBytes));
      } else {
        const progress = new Progress(world.stderr, label, volume.sizeBytes);
        try {
          const lasting = await session.lastingClient();
          await exportForeign(lasting, volume, partial.path, chosen, session.signal, progress);
        } finally {
          progress.stop();
        }
      }
      await partial.finish();
    } finally {
      await partial.discard();
    }
    const view = {
      id: volume.id,
      name: volume.name,
      file: session.path(file),
      format: chosen,
      sizeBytes: volume.sizeBytes,
    };
    output.answer(view, () => `${volume.name} (${formatSize(volume.sizeBytes)}) copied to ${file}, format ${chosen}`);
  },
});
