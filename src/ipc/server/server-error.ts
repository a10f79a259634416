import { FaultError } from '../../base/errors.js';

export type ServerFault =
  | { readonly code: 'ADDRESS_IN_USE'; readonly address: string }
  | { readonly code: 'ADDRESS_REFUSED'; readonly address: string }
  /** An address that others reach asks for TLS with client certificates. */
  | { readonly code: 'UNPROTECTED'; readonly address: string }
  | { readonly code: 'TLS_INVALID' };

/** Why the control API cannot be served as its owner asked. */
export class ServerError extends FaultError<ServerFault> {
  override readonly name = 'ServerError';
}
