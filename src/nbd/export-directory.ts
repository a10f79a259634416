import type { BlockDevice } from '../device/block-device.js';
import type { DeviceStatistics } from '../device/device-statistics.js';
import type { ExportContexts } from './meta-contexts.js';

export type Transport = 'tcp' | 'tls' | 'unix';

export interface ClientIdentity {
  /** `host:port`, or `unix:N` with a number that is unique in this server. */
  readonly address: string;
  readonly transport: Transport;
}

export interface ExportListing {
  readonly name: string;
  /** For people; '' when there is none. */
  readonly description: string;
}

/** An export that one connection uses (or only asks about: NBD_OPT_INFO opens and closes it at once). */
export interface OpenedExport {
  readonly volumeId: string;
  readonly device: BlockDevice;
  readonly description: string;
  /** The export's own wish; a read-only device is read-only whatever this says. */
  readonly readOnly: boolean;
  readonly statistics: DeviceStatistics;
  /** Absent: base:allocation alone. */
  readonly contexts?: ExportContexts;
  /** Called once, when this connection has ended and the device has completed its last request. */
  closed(): void;
}

export type ExportFault =
  | { readonly code: 'UNKNOWN' }
  | { readonly code: 'TLS_REQUIRED' }
  /** The export exists and must not be used now; `detail` is shown to the client. */
  | { readonly code: 'POLICY'; readonly detail: string }
  | { readonly code: 'SHUTDOWN' };

/** What the composition offers to clients. Both methods answer at once: exports are open before they are listed. */
export interface ExportDirectory {
  list(): readonly ExportListing[];
  /** `name` is never empty: the server resolves the default export, which exists only when it is the only one. */
  open(name: string, client: ClientIdentity): OpenedExport | ExportFault;
}

/** Tells the two answers of `open` apart. */
export function isExportFault(answer: object): answer is ExportFault {
  return 'code' in answer;
}
