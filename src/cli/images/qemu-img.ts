import { spawn } from 'node:child_process';
import { errnoOf } from '../../base/errors.js';
import { CliError, failure } from '../cli-error.js';

/** What qemu-img says about an image. */
export interface ImageInfo {
  readonly format: string;
  readonly virtualSizeBytes: number;
  /** The file that an overlay stands on, which is read as well. */
  readonly backingFile: string | undefined;
}

/** Schemes that qemu-img opens by itself. */
const SCHEMES = ['nbd', 'nbd+unix', 'nbds', 'nbds+unix', 'http', 'https', 'ftp', 'ftps', 'ssh'];

/** True when qemu-img has to open it; a `file:` URI and a path are local files. */
export function remoteScheme(text: string): { readonly scheme: string; readonly known: boolean } | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined || scheme === 'file') return undefined;
  return { scheme, known: SCHEMES.includes(scheme) };
}

/** Asks qemu-img about an image; `format` undefined lets it look. Throws CliError FAILED or CANCELLED. */
export async function imageInfo(image: string, format: string | undefined, signal: AbortSignal): Promise<ImageInfo> {
  const asked = format === undefined ? [] : ['-f', format];
  const text = await runQemuImg(['info', '--output=json', ...asked, image], signal);
  let info: Record<string, unknown>;
  try {
    info = JSON.parse(text) as Record<string, unknown>;
  } catch (thrown) {
    throw failure(`qemu-img says about ${image} what cannot be read; is it a qemu-img of 2.5 or newer?`, thrown);
  }
  const virtualSizeBytes = info['virtual-size'];
  const backing = info['full-backing-filename'] ?? info['backing-filename'];
  if (typeof virtualSizeBytes !== 'number' || typeof info['format'] !== 'string') {
    throw failure(`qemu-img does not tell the size of ${image}`);
  }
  return {
    format: info['format'],
    virtualSizeBytes,
    backingFile: typeof backing === 'string' ? backing : undefined,
  };
}

export interface Conversion {
  readonly from: string;
  readonly fromFormat: string;
  readonly to: string;
  readonly toFormat: string;
  /** The target exists and reads as zeros: write only what is not zero, into it. */
  readonly intoEmptyTarget: boolean;
}

/** Copies an image. `onProgress` is told fractions of one. */
export async function convertImage(
  conversion: Conversion,
  signal: AbortSignal,
  onProgress: (fraction: number) => void,
): Promise<void> {
  const { from, fromFormat, to, toFormat } = conversion;
  const target = conversion.intoEmptyTarget ? ['-n', '--target-is-zero', '-W'] : [];
  // `-t writeback`: qemu-img's own default for targets is `unsafe`, which never flushes.
  const args = ['convert', '-p', '-t', 'writeback', '-m', '8', ...target, '-f', fromFormat, '-O', toFormat, from, to];
  await runQemuImg(args, signal, (text) => {
    const percent = /\((\d+(?:\.\d+)?)\/100%\)/.exec(text)?.[1];
    if (percent !== undefined) onProgress(Number(percent) / 100);
  });
}

/** Resolves to what it printed. An interruption ends it and resolves only after it is gone. */
function runQemuImg(args: readonly string[], signal: AbortSignal, onOutput?: (text: string) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const interrupted = (): CliError => new CliError('interrupted', { code: 'CANCELLED' });
    if (signal.aborted) {
      reject(interrupted());
      return;
    }
    const child = spawn('qemu-img', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (): void => {
      child.kill('SIGTERM');
    };
    signal.addEventListener('abort', stop);
    let output = '';
    let complaints = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (onOutput === undefined) output += text;
      else onOutput(text);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaints = (complaints + text).slice(-4096);
    });
    child.on('error', (error) => {
      signal.removeEventListener('abort', stop);
      if (errnoOf(error) !== 'ENOENT') reject(failure(`qemu-img does not start: ${error.message}`, error));
      else reject(failure(MISSING, error));
    });
    child.on('close', (code) => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) reject(interrupted());
      else if (code === 0) resolve(output);
      else reject(failure(explain(complaints)));
    });
  });
}

const MISSING =
  'only raw images can be copied without qemu-img, which is not installed; ' +
  'install it (Debian and Ubuntu: apt install qemu-utils; Fedora: dnf install qemu-img), or convert the image to raw';

function explain(complaints: string): string {
  const text = complaints.trim().replace(/\s*\n\s*/g, '; ') || 'no reason given';
  const hint = text.includes('Unknown protocol') ? ' (on Debian and Ubuntu: apt install qemu-block-extra)' : '';
  return `${text.startsWith('qemu-img') ? text : `qemu-img: ${text}`}${hint}`;
}
