import { FaultError } from '../base/errors.js';

/** What can go wrong between a client and its daemon. The message says what to do; programs look at `code`. */
export type ClientFault =
  | { readonly code: 'UNREACHABLE'; readonly address: string }
  | { readonly code: 'UNAUTHENTICATED'; readonly address: string }
  | { readonly code: 'TIMEOUT'; readonly address: string; readonly timeoutMs: number }
  | { readonly code: 'CANCELLED' }
  | { readonly code: 'NOT_FOUND' }
  | { readonly code: 'INVALID' }
  | { readonly code: 'EXISTS' }
  | { readonly code: 'REFUSED' }
  | { readonly code: 'NO_SPACE' }
  | { readonly code: 'DAMAGED' }
  /** The daemon failed in a way that it has no word for. */
  | { readonly code: 'INTERNAL'; readonly status: number }
  /** Several daemons run, or none is known: which one is meant has to be said. */
  | { readonly code: 'AMBIGUOUS'; readonly addresses: readonly string[] }
  /** The file that holds the token cannot be read. */
  | { readonly code: 'NO_TOKEN'; readonly tokenFile: string };

/** The error class of everything on the client's side of the control API. Loads no gRPC code. */
export class ClientError extends FaultError<ClientFault> {
  override readonly name = 'ClientError';
}
