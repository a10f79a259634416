import { status, type ServiceError } from '@grpc/grpc-js';
import { ClientError } from './client-error.js';

/** What the caller knows about a failed call besides its status. */
export interface CallCircumstances {
  readonly address: string;
  readonly timeoutMs: number;
  /** The connection stood at some time: a failure is not the daemon's absence. */
  readonly connected: boolean;
  /** We gave up waiting for the connection ourselves. */
  readonly connectTimedOut: boolean;
  /** We gave up waiting for the next message ourselves. */
  readonly idle: boolean;
}

/** Translates a gRPC status once; above this function nobody sees gRPC. */
export function toClientError(error: ServiceError, circumstances: CallCircumstances): ClientError {
  const { address, timeoutMs } = circumstances;
  const details = error.details === '' ? error.message : error.details;
  const cause = { cause: error };
  if (circumstances.connectTimedOut) return unreachable(address, 'no answer', error);
  if (circumstances.idle) return sentNothing(address, timeoutMs, error);
  switch (error.code) {
    case status.UNAVAILABLE:
      if (!circumstances.connected) return unreachable(address, connectReason(details), error);
      return new ClientError(
        `the daemon at ${address} is not available: ${details}; look at its log, then try again`,
        { code: 'UNREACHABLE', address },
        cause,
      );
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return new ClientError(
        `the daemon at ${address} does not accept our token (${details}); ` +
          'name its file with --token-file (run/control.token in the storage path)',
        { code: 'UNAUTHENTICATED', address },
        cause,
      );
    case status.DEADLINE_EXCEEDED:
      return new ClientError(
        `the daemon at ${address} did not answer within ${String(timeoutMs / 1000)} s; ` +
          'the request may still be carried out: look at `gfs status`, or wait longer with --timeout',
        { code: 'TIMEOUT', address, timeoutMs },
        cause,
      );
    case status.CANCELLED:
      // What we cancel ourselves never comes here: a server that shuts down cuts its streams with this status.
      return new ClientError(
        `the daemon at ${address} ended the call (${details}); look at its log, then try again`,
        { code: 'UNREACHABLE', address },
        cause,
      );
    case status.NOT_FOUND:
      return new ClientError(details, { code: 'NOT_FOUND' }, cause);
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
      return new ClientError(details, { code: 'INVALID' }, cause);
    case status.ALREADY_EXISTS:
      return new ClientError(details, { code: 'EXISTS' }, cause);
    case status.FAILED_PRECONDITION:
    case status.ABORTED:
      return new ClientError(details, { code: 'REFUSED' }, cause);
    case status.RESOURCE_EXHAUSTED:
      return new ClientError(details, { code: 'NO_SPACE' }, cause);
    case status.DATA_LOSS:
      return new ClientError(details, { code: 'DAMAGED' }, cause);
    case status.UNIMPLEMENTED:
      return new ClientError(
        `the daemon at ${address} does not know this verb: it is older than this program; restart it with this version`,
        { code: 'REFUSED' },
        cause,
      );
    default:
      return new ClientError(
        `the daemon at ${address} failed: ${details}`,
        { code: 'INTERNAL', status: error.code },
        cause,
      );
  }
}

/** We gave up waiting for the next message of a stream. */
export function sentNothing(address: string, timeoutMs: number, cause: unknown): ClientError {
  const text = `the daemon at ${address} sent nothing for ${String(timeoutMs / 1000)} s; look at \`gfs status\``;
  return new ClientError(text, { code: 'TIMEOUT', address, timeoutMs }, { cause });
}

function unreachable(address: string, reason: string, cause: unknown): ClientError {
  return new ClientError(
    `no daemon answers at ${address} (${reason}); start one with \`gfs -d --storage-path DIR\`, ` +
      'or name the right one with --daemon-address',
    { code: 'UNREACHABLE', address },
    { cause },
  );
}

/** The few words of gRPC's long text that help a person. */
function connectReason(details: string): string {
  if (details.includes('ECONNREFUSED')) return 'connection refused';
  if (details.includes('ENOENT')) return 'no such socket';
  if (details.includes('EACCES')) return 'permission denied';
  if (details.includes('ENOTFOUND') || details.includes('EAI_AGAIN') || details.includes('Name resolution')) {
    return 'unknown host name';
  }
  if (/certificate|self.signed|SSL|TLS|EPROTO/i.test(details)) return 'the TLS handshake failed';
  return 'no connection';
}
