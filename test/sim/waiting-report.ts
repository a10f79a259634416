import type { Pending } from './expectations.js';
import type { SimulatedMachine } from './simulated-machine.js';
import { nameOf } from './clients.js';

const NAMED_MAX = 12;

/** What waits for what, for whoever has to find out why nothing happens any more. */
export function waitingReport(
  machine: SimulatedMachine,
  pending: Iterable<Pending>,
  verbs: ReadonlyMap<string, number>,
): string {
  const { store, process, time } = machine;
  const requests = [...pending].map(
    ({ id, operation, layer, offset, length, submittedAtMs }) =>
      `#${id} ${nameOf(operation)} of layer ${layer} ${offset}+${length} for ${(time.nowMs - submittedAtMs).toFixed(1)} ms`,
  );
  const parts = [
    store === null ? 'the store is not open' : `the store is ${store.state} ${store.stateReason}`.trimEnd(),
    listed('requests', requests),
    listed('verbs', [...verbs.keys()]),
    listed('calls', [...process.underway.values()]),
  ];
  const engine = store?.engine ?? null;
  if (engine !== null) {
    const { journal, checkpointer, map, table } = engine;
    parts.push(
      `journal: appended ${journal.appended}, durable ${journal.durable}, room ${journal.room}` +
        `${journal.appending ? ', appending' : ''}${journal.padWanted ? ', a pad is wanted' : ''}` +
        `${journal.congested ? ', congested' : ''}${journal.reserved ? ', reserved' : ''}${journal.spent ? ', spent' : ''}`,
      `${table.count('ready')} segments ready, ${map.dirtyLeaves} of ${map.dirtyLeavesMax} leaves dirty, ` +
        `${checkpointer.replayBytes} bytes to replay`,
    );
  }
  return parts.filter((part) => part !== '').join('; ');
}

function listed(what: string, names: readonly string[]): string {
  if (names.length === 0) return '';
  const more = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '';
  return `${what} under way: ${names.slice(0, NAMED_MAX).join(', ')}${more}`;
}
