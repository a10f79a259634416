import { status } from '@grpc/grpc-js';
import { messageOf } from '../../base/errors.js';
import { ControlError, type ControlFault } from '../../control/control-error.js';
import { ModelError } from '../../model/model-error.js';
import { STATUS_TEXT_LENGTH_MAX } from './limits.js';

/** What gRPC sends when a call fails. */
export interface CallStatus {
  readonly code: status;
  readonly details: string;
}

/** A refusal that begins here and not in control: no token, too many calls, stopping. */
export class CallRefused extends Error {
  readonly status: CallStatus;

  constructor(code: status, details: string) {
    super(details);
    this.status = { code, details };
  }
}

/** The one translation of faults into gRPC statuses. `unexpected` is told of what has no word. */
export function toStatus(thrown: unknown, unexpected: (thrown: unknown) => void): CallStatus {
  if (thrown instanceof CallRefused) return thrown.status;
  const details = statusText(messageOf(thrown));
  if (thrown instanceof ControlError) {
    if (thrown.code === 'FAILED') unexpected(thrown);
    return { code: codeOfFault(thrown.fault), details };
  }
  // Faults of a model are slips in the request, but for ROW, which control has translated.
  if (thrown instanceof ModelError && thrown.code !== 'ROW') return { code: status.INVALID_ARGUMENT, details };
  unexpected(thrown);
  return { code: status.INTERNAL, details };
}

/** gRPC percent-encodes the text, which throws, where nobody catches, for half a surrogate pair: a cut may leave one. */
function statusText(text: string): string {
  return text.slice(0, STATUS_TEXT_LENGTH_MAX).replaceAll(/\p{Surrogate}/gu, '\ufffd');
}

function codeOfFault(fault: ControlFault): status {
  switch (fault.code) {
    case 'NOT_FOUND':
      return status.NOT_FOUND;
    case 'EXISTS':
      return status.ALREADY_EXISTS;
    case 'INVALID':
      return status.INVALID_ARGUMENT;
    case 'AMBIGUOUS':
    case 'REFUSED':
      return status.FAILED_PRECONDITION;
    case 'FULL':
      return status.RESOURCE_EXHAUSTED;
    case 'DAMAGED':
      return status.DATA_LOSS;
    case 'CANCELLED':
      return status.CANCELLED;
    case 'UNAVAILABLE':
      return status.UNAVAILABLE;
    case 'FAILED':
      return status.INTERNAL;
  }
}
