import type { ControlPlane } from '../../control/control-plane.js';
import type { ImagePiece } from '../../control/image-export.js';
import type { ExportImageRequest, ImageChunk, VolumesServer } from '../generated/control.js';
import type { CallGate } from './call-gate.js';
import { serverStream, type SignalledCaller, unary } from './call-handlers.js';
import { importUpload } from './import-upload.js';
import { UploadCall } from './upload-call.js';
import { createRequestOf, toDeleteResponse, toStatsSample, toVolume } from './volume-messages.js';

const NO_DATA = Buffer.alloc(0);

/** The service Volumes of control.proto. */
export function volumesService(gate: CallGate, plane: ControlPlane): VolumesServer {
  const { volumes } = plane;
  return {
    create: unary(gate, async (request, caller) => toVolume(await volumes.create(createRequestOf(request), caller))),
    list: unary(gate, ({ labels, retained }) => ({ volumes: volumes.list(labels, retained).map(toVolume) })),
    get: unary(gate, ({ volume, retained }) => toVolume(volumes.get(volume, retained))),
    delete: unary(gate, async ({ volume, force, withSnapshots }, caller) =>
      toDeleteResponse(await volumes.delete(volume, force, caller, withSnapshots)),
    ),
    // `force` answers the question that the command line asks; here a purge is always meant.
    purge: unary(gate, async ({ volume }, caller) => toDeleteResponse(await volumes.purge(volume, caller))),
    restore: unary(gate, async ({ volume, name }, caller) => toVolume(await volumes.restore(volume, name, caller))),
    expand: unary(gate, async ({ volume, sizeBytes, relative }, caller) =>
      toVolume(await volumes.expand(volume, sizeBytes, relative, caller)),
    ),
    rename: unary(gate, async ({ volume, name }, caller) => toVolume(await volumes.rename(volume, name, caller))),
    update: unary(gate, async ({ volume, setLabels, removeLabels, protected: isProtected }, caller) =>
      toVolume(await volumes.update(volume, { setLabels, removeLabels, protected: isProtected }, caller)),
    ),
    export: unary(gate, async ({ volume, readOnly }, caller) =>
      toVolume(await volumes.export(volume, readOnly, caller)),
    ),
    unexport: unary(gate, async ({ volume, force }, caller) => toVolume(await volumes.unexport(volume, force, caller))),
    kick: unary(gate, async ({ volume, address }, caller) => ({
      addresses: [...(await volumes.kick(volume, address, caller))],
    })),
    stats: serverStream(gate, (request, caller) => plane.sampleStats(request, caller.signal), toStatsSample),
    importImage: (call, callback) => {
      new UploadCall(call, callback, gate, importUpload(volumes)).run();
    },
    exportImage: serverStream(
      gate,
      (request, caller) => imageChunks(plane, request, caller),
      (chunk) => chunk,
    ),
  };
}

/** The first message carries the size, so that an empty image has one too. */
async function* imageChunks(
  plane: ControlPlane,
  { volume }: ExportImageRequest,
  caller: SignalledCaller,
): AsyncGenerator<ImageChunk, void, void> {
  const { sizeBytes, pieces } = plane.volumes.readImage(volume, caller);
  yield { offsetBytes: 0, data: NO_DATA, sizeBytes };
  for await (const piece of pieces) yield toChunk(piece);
}

function toChunk({ offsetBytes, data }: ImagePiece): ImageChunk {
  return { offsetBytes, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength), sizeBytes: 0 };
}
