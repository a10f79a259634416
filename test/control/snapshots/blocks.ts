import { Operation } from '../../../src/device/block-device.js';
import { submitAndWait } from '../../../src/device/submit-and-wait.js';
import type { ControlPlane } from '../../../src/control/control-plane.js';
import type { FakeWorld } from '../fake-world.js';

const BLOCK = 4096;

/** The block at `index` of a volume is all `value`; through the handle that its clients use. */
export async function writeBlock(
  world: FakeWorld,
  plane: ControlPlane,
  volume: string,
  index: number,
  value: number,
): Promise<void> {
  const { id } = plane.volumes.get(volume, false);
  const handle = [...world.host.handles.values()].find((one) => one.volumeId === id && !one.readOnly);
  const data = new Uint8Array(BLOCK).fill(value);
  const fault = await submitAndWait(handle!, {
    operation: value === 0 ? Operation.WRITE_ZEROES : Operation.WRITE,
    offsetBytes: index * BLOCK,
    lengthBytes: BLOCK,
    flags: 0,
    data,
    dataOffset: 0,
  });
  if (fault !== null) throw new Error(fault.code);
}

/** The first byte of each of the first blocks that a volume shows. */
export async function readBlocks(world: FakeWorld, plane: ControlPlane, volume: string, count = 4): Promise<number[]> {
  const { id } = plane.volumes.get(volume, false);
  const handle = [...world.host.handles.values()].find((one) => one.volumeId === id && !one.readOnly);
  return bytesOf(handle!, count);
}

/** The same of an export, a snapshot's for example. */
export async function readExport(world: FakeWorld, name: string, count = 4): Promise<number[]> {
  const found = [...world.exports.offered.values()].find((one) => one.name === name);
  return bytesOf(found!.device, count);
}

async function bytesOf(device: Parameters<typeof submitAndWait>[0], count: number): Promise<number[]> {
  const data = new Uint8Array(count * BLOCK);
  const request = {
    operation: Operation.READ,
    offsetBytes: 0,
    lengthBytes: data.length,
    flags: 0,
    data,
    dataOffset: 0,
  };
  const fault = await submitAndWait(device, request);
  if (fault !== null) throw new Error(fault.code);
  return Array.from({ length: count }, (_, index) => data[index * BLOCK]);
}
