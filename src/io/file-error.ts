import { FaultError } from '../base/errors.js';

export type FileFault =
  | { readonly code: 'NO_SPACE'; readonly path: string }
  | { readonly code: 'NOT_FOUND'; readonly path: string }
  | { readonly code: 'EXISTS'; readonly path: string }
  | { readonly code: 'LOCKED'; readonly path: string }
  | { readonly code: 'READ_ONLY'; readonly path: string }
  | { readonly code: 'IO'; readonly path: string; readonly errno: string };

export class FileError extends FaultError<FileFault> {
  override readonly name = 'FileError';
}
