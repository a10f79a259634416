import { FaultError } from '../base/errors.js';

/** One wrong thing in a user's document: where it is, what is wrong, and what is allowed there. */
export interface DocumentProblem {
  /** `parameters.replication`, `allowed_topologies[0].values`; '' for the document itself. */
  readonly path: string;
  /** Line in the file, from 1; 0 when it is not known. */
  readonly line: number;
  /** One sentence that names what was found and what is allowed. */
  readonly text: string;
}

export type ModelFault =
  | { readonly code: 'NAME'; readonly name: string }
  | { readonly code: 'SIZE'; readonly sizeBytes: number }
  | { readonly code: 'BLOCK_SIZE'; readonly blockBytes: number }
  | { readonly code: 'LABEL'; readonly label: string }
  | { readonly code: 'REPLICAS'; readonly replicas: number }
  | { readonly code: 'VOLUME_TYPE'; readonly volumeType: string }
  | { readonly code: 'CRON'; readonly cron: string }
  | { readonly code: 'TIME_ZONE'; readonly timeZone: string }
  | { readonly code: 'RETENTION'; readonly rule: string }
  | { readonly code: 'QOS'; readonly fields: readonly string[] }
  | { readonly code: 'DOCUMENT'; readonly fileName: string; readonly problems: readonly DocumentProblem[] }
  /** A row of the MetaStore that does not have its shape: damage, or a newer version wrote it. */
  | { readonly code: 'ROW'; readonly subject: string };

/** The user named something that cannot be; the message says why and what would be right. */
export class ModelError extends FaultError<ModelFault> {
  override readonly name = 'ModelError';
}
