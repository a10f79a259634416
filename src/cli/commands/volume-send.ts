import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { errnoOf, messageOf } from '../../base/errors.js';
import { formatSize } from '../../base/size.js';
import type { StreamBytes } from '../../ipc/generated/snapshots.js';
import type { ReceiveStream, RecoveryFile } from '../../ipc/snapshot-client.js';
import { CliError, failure, usageError } from '../cli-error.js';
import { command } from '../command.js';
import { PartialFile } from '../images/partial-file.js';
import { interruptible } from '../interruptible.js';
import { pointOf, toSnapshotView } from '../output/snapshot-view.js';
import { toVolumeView } from '../output/volume-view.js';
import { RECOVERY_PASSPHRASE_OPTIONS, recoveryPassphrase } from '../passphrase-input.js';
import type { Session } from '../session.js';
import { BIRTH_OPTIONS, newVolumeRequest } from './new-volume.js';
import { SNAPSHOT } from './snapshot-word.js';

export const volumeSend = command({
  verb: ['volume', 'send'],
  summary: 'write a snapshot, or what changed since another one, as a stream for a file or a pipe',
  details:
    'The stream is checksummed, and whoever receives it notices when it was cut. The blocks of an encrypted volume leave as\n' +
    'they are sealed, with their data keys wrapped under the master key of this node: keep a recovery file with streams that\n' +
    'are backups, for without the master key they open with that alone. With --decrypt they are sent in the clear.\n' +
    'Examples:\n' +
    '  gfs volume send data@monday --file monday.gfs\n' +
    '  gfs volume send data@tuesday --from data@monday | ssh backup gfs volume receive data',
  words: { snapshot: SNAPSHOT },
  options: {
    from: {
      kind: 'text',
      summary: 'send only what changed since this one, which the receiver has',
      value: 'VOLUME@SNAPSHOT',
      completes: 'snapshot',
    },
    decrypt: { kind: 'flag', summary: 'send an encrypted volume in the clear, not as it is sealed' },
    file: { kind: 'text', summary: 'write to this file (default: standard output)', value: 'FILE', completes: 'file' },
    force: { kind: 'flag', alias: 'f', summary: 'replace the file if it exists' },
  },
  async run({ snapshot }, { from, decrypt, file, force }, session) {
    const { output, world } = session;
    const { snapshots } = await session.client();
    const stream = snapshots.send({ snapshot, from: from ?? '', decrypt });
    if (file === undefined) {
      if (world.stdout.isTerminal)
        throw usageError('a stream is not for a terminal: name a --file, or send it into a pipe');
      await sendToPipe(stream, session);
      return;
    }
    const sentBytes = await sendToFile(stream, file, force, session);
    output.answer({ snapshot, from: from ?? null, file: session.path(file), sentBytes }, () => {
      return `${snapshot} sent to ${file}, ${formatSize(sentBytes)}`;
    });
  },
});

export const volumeReceive = command({
  verb: ['volume', 'receive'],
  summary: 'make a volume of a stream, or bring one up to the next snapshot',
  details:
    'A whole snapshot becomes a new volume NAME. A difference goes onto the volume NAME, which must be exactly the\n' +
    'snapshot that the difference begins with. Either way NAME has a snapshot called as the one that was sent.\n' +
    'Nothing is kept of a stream that was cut or damaged, or when this is interrupted.\n' +
    'A sealed stream of a node with another master key needs a --recovery-file that `gfs key export-recovery` made there.\n' +
    'Examples:\n' +
    '  gfs volume receive data-copy --file monday.gfs\n' +
    '  gfs volume receive data --file monday.gfs --recovery-file node-1.recovery --recovery-passphrase-file secret',
  words: { name: { summary: 'the volume', required: true, completes: 'volume' } },
  options: {
    file: { kind: 'text', summary: 'read this file (default: standard input)', value: 'FILE', completes: 'file' },
    'recovery-file': {
      kind: 'text',
      summary: 'opens the data keys of a sealed stream of another node',
      value: 'FILE',
      completes: 'file',
    },
    ...RECOVERY_PASSPHRASE_OPTIONS,
    ...BIRTH_OPTIONS,
  },
  async run({ name }, options, session) {
    const { world } = session;
    if (options.file === undefined && world.interactive) {
      throw usageError('a stream does not come from a keyboard: name a --file, or send it into this command');
    }
    const create = newVolumeRequest(name, 0, options);
    const recovery = await recoveryOf(options, session);
    const source =
      options.file === undefined ? world.stdin : await openSource(session.path(options.file), options.file);
    const stream = (await session.client()).snapshots.receive(create, recovery);
    try {
      await interruptible(upload(source, stream), session.signal);
    } catch (thrown) {
      if (await stream.abandon()) throw thrown;
      throw new CliError(
        `the daemon has not confirmed that nothing of the stream is kept; look at \`gfs volume get ${name}\``,
        { code: 'FAILED' },
        { cause: thrown },
      );
    }
    // From here the daemon makes it durable; an interruption no longer leaves anything half.
    const { volume, snapshot } = await stream.complete();
    session.output.answer(
      { volume: toVolumeView(volume), snapshot: toSnapshotView(snapshot) },
      () =>
        `${pointOf(snapshot)} received: ${formatSize(volume.sizeBytes)}, ${formatSize(snapshot.referencedBytes)} used`,
    );
  },
});

async function recoveryOf(
  options: {
    'recovery-file'?: string | undefined;
    'recovery-passphrase-file'?: string | undefined;
    'recovery-passphrase-environment'?: string | undefined;
  },
  session: Session,
): Promise<RecoveryFile | null> {
  const shown = options['recovery-file'];
  const passphraseFile = options['recovery-passphrase-file'];
  const variable = options['recovery-passphrase-environment'];
  if (shown === undefined) {
    if (passphraseFile === undefined && variable === undefined) return null;
    throw usageError('a passphrase is for a --recovery-file, and none is named');
  }
  const file = await readFile(session.path(shown)).catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'ENOENT') throw failure(`there is no file ${shown}`, thrown);
    throw failure(`${shown} cannot be read: ${messageOf(thrown)}`, thrown);
  });
  return { file, passphrase: await recoveryPassphrase(session, passphraseFile, variable) };
}

async function sendToPipe(stream: AsyncIterable<StreamBytes>, { world }: Session): Promise<void> {
  const { stream: pipe } = world.stdout;
  for await (const { data } of stream) {
    if (pipe.write(data)) continue;
    // A reader that goes away aborts the signal, and ends this wait.
    await once(pipe, 'drain', { signal: world.signal });
  }
}

async function sendToFile(
  stream: AsyncIterable<StreamBytes>,
  shown: string,
  force: boolean,
  session: Session,
): Promise<number> {
  const partial = await PartialFile.create(session.path(shown), shown, force);
  let sentBytes = 0;
  try {
    const file = await open(partial.path, 'r+');
    try {
      for await (const { data } of stream) {
        await writeFully(file, data);
        sentBytes += data.length;
      }
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOSPC') throw failure(`there is no room for the stream: ${messageOf(thrown)}`, thrown);
      throw thrown;
    } finally {
      await file.close();
    }
    await partial.finish();
    return sentBytes;
  } finally {
    await partial.discard();
  }
}

async function writeFully(file: FileHandle, data: Buffer): Promise<void> {
  for (let done = 0; done < data.length;) done += (await file.write(data, done)).bytesWritten;
}

async function openSource(path: string, shown: string): Promise<NodeJS.ReadableStream> {
  const source = createReadStream(path, { highWaterMark: 1024 * 1024 });
  try {
    await once(source, 'open');
    return source;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') throw failure(`there is no file ${shown}`, thrown);
    throw failure(`${shown} cannot be read: ${messageOf(thrown)}`, thrown);
  }
}

async function upload(source: NodeJS.ReadableStream, stream: ReceiveStream): Promise<void> {
  for await (const piece of source) await stream.write(Buffer.from(piece as Uint8Array));
}
