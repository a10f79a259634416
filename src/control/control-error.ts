import { FaultError, messageOf } from '../base/errors.js';
import { ModelError } from '../model/model-error.js';

export type RefusalReason =
  | 'connections'
  | 'protected'
  | 'state'
  | 'shrink'
  | 'locked'
  | 'damaged'
  | 'class-in-use'
  | 'policy-in-use'
  | 'built-in'
  | 'busy'
  | 'snapshots'
  | 'held'
  | 'unrelated'
  | 'changed';

/** What an operation answers when it does not do what was asked. */
export type ControlFault =
  | {
      readonly code: 'NOT_FOUND';
      readonly what: 'volume' | 'storage class' | 'policy' | 'snapshot' | 'schedule';
      readonly reference: string;
    }
  /** A prefix or a former name that several volumes have; `candidates` are ids. */
  | { readonly code: 'AMBIGUOUS'; readonly reference: string; readonly candidates: readonly string[] }
  | {
      readonly code: 'EXISTS';
      readonly what: 'volume' | 'storage class' | 'policy' | 'snapshot';
      readonly name: string;
    }
  /** The request itself cannot be: an empty name, a size of nothing, an offset past the end. */
  | { readonly code: 'INVALID'; readonly field: string }
  /** It could be, but not now or not for this volume. The message says why and the way around. */
  | { readonly code: 'REFUSED'; readonly reason: RefusalReason }
  | { readonly code: 'FULL' }
  | { readonly code: 'DAMAGED'; readonly subject: string }
  | { readonly code: 'CANCELLED' }
  /** The node is starting, stopping or reopening its store: the same request may work later. */
  | { readonly code: 'UNAVAILABLE' }
  /** Something below failed in a way that the user can only report. */
  | { readonly code: 'FAILED'; readonly step: string };

/** Messages are whole sentences for people: what was refused, why, and what to do. */
export class ControlError extends FaultError<ControlFault> {
  override readonly name = 'ControlError';
}

/** `message` says why, and the way around. */
export function refused(reason: RefusalReason, message: string): ControlError {
  return new ControlError(message, { code: 'REFUSED', reason });
}

/** `field` is the name in control.proto. */
export function invalid(field: string, message: string): ControlError {
  return new ControlError(message, { code: 'INVALID', field });
}

/** The client has gone. */
export function cancelled(): ControlError {
  return new ControlError('the request was cancelled', { code: 'CANCELLED' });
}

/**
 * Anything that a step threw, in the words of this room. Faults of the rooms below are told apart by `code`; a fault
 * that has no word here keeps its message and names the step.
 */
export function toControlError(step: string, thrown: unknown): ControlError | ModelError {
  if (thrown instanceof ControlError) return thrown;
  // ROW is damage of ours, the other model faults are the user's slips.
  if (thrown instanceof ModelError && thrown.code !== 'ROW') return thrown;
  const text = messageOf(thrown);
  const cause = { cause: thrown };
  switch (codeOf(thrown)) {
    case 'FULL':
    case 'NO_SPACE':
      return new ControlError(
        `${step}: no space left on the node (${text}); delete or purge volumes, or give the storage path more space`,
        { code: 'FULL' },
        cause,
      );
    case 'DAMAGED':
    case 'CORRUPT':
    case 'ROW':
      return new ControlError(`${step}: ${text}`, { code: 'DAMAGED', subject: step }, cause);
    case 'WRONG_KEY':
    case 'MISSING':
    case 'EXPOSED':
    case 'COMMAND_FAILED':
    case 'OPTIONS':
      return new ControlError(`${step}: ${text}`, { code: 'REFUSED', reason: 'locked' }, cause);
    case 'UNRELATED':
      return new ControlError(`${step}: ${text}`, { code: 'REFUSED', reason: 'unrelated' }, cause);
    case 'CLOSED':
      return new ControlError(
        `${step}: the node is stopping or reopening its store (${text})`,
        { code: 'UNAVAILABLE' },
        cause,
      );
    default:
      return new ControlError(`${step}: ${text}`, { code: 'FAILED', step }, cause);
  }
}

/** Awaits one step and translates its failure. */
export async function stepOf<T>(step: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    throw toControlError(step, thrown);
  }
}

/** The code of a fault of any room, '' of anything else. */
export function codeOf(thrown: unknown): string {
  return thrown instanceof FaultError ? (thrown as FaultError<{ code: string }>).code : '';
}
