import { FaultError } from '../base/errors.js';

/** Why the server could not do what its owner asked. What clients do wrong is answered to them, never thrown. */
export type NbdFault =
  /** Somebody answers on that address. */
  | { readonly code: 'ADDRESS_IN_USE'; readonly address: string }
  /** The system refuses the address, `errno` says why (EACCES, EADDRNOTAVAIL, ...). */
  | { readonly code: 'ADDRESS_REFUSED'; readonly address: string; readonly errno: string }
  /** The path is taken by something that is not a socket. */
  | { readonly code: 'NOT_A_SOCKET'; readonly path: string }
  /** Certificate, key or authority cannot be used. */
  | { readonly code: 'TLS_INVALID'; readonly detail: string }
  /** A listener that wants TLS, on a server that has no certificate. */
  | { readonly code: 'TLS_MISSING' }
  | { readonly code: 'CLOSED' };

export class NbdError extends FaultError<NbdFault> {
  override readonly name = 'NbdError';
}
