import type { ControlPlane } from '../../control/control-plane.js';
import type { SnapshotView } from '../../control/snapshots/snapshot-view.js';
import type { DiffPage, DiffRequest, Retention, SnapshotList, SnapshotsServer } from '../generated/snapshots.js';
import type { CallGate } from './call-gate.js';
import { serverStream, unary } from './call-handlers.js';
import { receiveUpload } from './receive-upload.js';
import { toSchedule, toSnapshot } from './snapshot-messages.js';
import { UploadCall } from './upload-call.js';
import { toVolume } from './volume-messages.js';

const KEEP_NOTHING: Retention = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0 };

/** The service Snapshots of snapshots.proto. */
export function snapshotsService(gate: CallGate, plane: ControlPlane): SnapshotsServer {
  const { snapshots, schedules, volumes } = plane;
  return {
    create: unary(gate, async ({ volumes: names, name, labels }, caller) =>
      toList(await snapshots.create(names, { name, labels }, caller)),
    ),
    list: unary(gate, async ({ volume, labels }) => toList(await snapshots.list(volume, labels))),
    get: unary(gate, async ({ snapshot }) => toSnapshot(await snapshots.get(snapshot))),
    delete: unary(gate, async ({ snapshot, force }, caller) =>
      toSnapshot(await snapshots.delete(snapshot, force, caller)),
    ),
    rename: unary(gate, async ({ snapshot, name }, caller) =>
      toSnapshot(await snapshots.rename(snapshot, name, caller)),
    ),
    setHeld: unary(gate, async ({ snapshot, held }, caller) =>
      toSnapshot(await snapshots.setHeld(snapshot, held, caller)),
    ),
    export: unary(gate, async ({ snapshot }, caller) => toSnapshot(await snapshots.export(snapshot, caller))),
    unexport: unary(gate, async ({ snapshot, force }, caller) =>
      toSnapshot(await snapshots.unexport(snapshot, force, caller)),
    ),
    kick: unary(gate, async ({ snapshot, address }, caller) => ({
      addresses: [...(await snapshots.kick(snapshot, address, caller))],
    })),
    revert: unary(gate, async ({ snapshot, force }, caller) => {
      const { volume, safety } = await volumes.revert(snapshot, force, caller);
      return { volume: toVolume(volume), safetySnapshot: safety };
    }),
    clone: unary(gate, async ({ source, name, sizeBytes, labels }, caller) =>
      toVolume(await volumes.clone(source, { name, sizeBytes, labels }, caller)),
    ),
    diff: serverStream(
      gate,
      (request) => diffPages(plane, request),
      (page) => page,
    ),
    send: serverStream(
      gate,
      (request, caller) => plane.sender.send(request, caller),
      (data) => ({ data }),
    ),
    receive: (call, callback) => {
      new UploadCall(call, callback, gate, receiveUpload(plane)).run();
    },
    setSchedule: unary(gate, async ({ volume, cron, timeZone, keep }, caller) =>
      toSchedule(await schedules.set(volume, { cron, timeZone, keep: keep ?? KEEP_NOTHING }, caller)),
    ),
    removeSchedule: unary(gate, async ({ volume }, caller) => toSchedule(await schedules.remove(volume, caller))),
    listSchedules: unary(gate, () => ({ schedules: schedules.list().map(toSchedule) })),
  };
}

function toList(views: readonly SnapshotView[]): SnapshotList {
  return { snapshots: views.map(toSnapshot) };
}

/** The first page carries the size, so that two sides that are the same have one too. */
async function* diffPages(plane: ControlPlane, { from, to }: DiffRequest): AsyncGenerator<DiffPage, void, void> {
  const { sizeBytes, pages } = plane.diffs.open(from, to);
  yield { ranges: [], sizeBytes };
  for await (const ranges of pages) yield { ranges: ranges.map((range) => ({ ...range })), sizeBytes: 0 };
}
