import type { FileError } from '../../src/io/file-error.js';
import type { FileId, Files } from '../../src/io/files.js';
import type { SealBatch } from '../../src/io/seal-batch.js';

/** Asked before each call of this name on this path; what it returns is what happens instead. */
export type Fault = (call: keyof Files, path: string) => FileError | null;

const EIO = -5;

/** Files that fail on demand: promises reject, appends come back with EIO. */
export function faultyFiles(real: Files, fault: Fault): Files {
  const paths = new Map<FileId, string>();
  const pathOf = (value: unknown): string => (typeof value === 'string' ? value : (paths.get(value as FileId) ?? ''));
  const overrides: Partial<Files> = {
    async open(path, mode) {
      const failure = fault('open', path);
      if (failure !== null) throw failure;
      const file = await real.open(path, mode);
      paths.set(file, path);
      return file;
    },
    appendNow(file, offset, batch: SealBatch) {
      return fault('appendNow', pathOf(file)) === null ? real.appendNow(file, offset, batch) : EIO;
    },
    appendLater(file, offset, batch, done) {
      if (fault('appendLater', pathOf(file)) === null) real.appendLater(file, offset, batch, done);
      else setImmediate(() => done(EIO));
    },
  };
  return new Proxy(real, {
    get(target, name: keyof Files): unknown {
      if (name in overrides) return overrides[name];
      const method = target[name] as (...values: unknown[]) => unknown;
      if (name === 'openNow' || name === 'openLater') return method.bind(target);
      return (...values: unknown[]): unknown => {
        const failure = fault(name, pathOf(values[0]));
        return failure === null ? method.apply(target, values) : Promise.reject(failure);
      };
    },
  });
}
