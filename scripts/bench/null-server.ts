/**
 * Our NBD server in front of a device that does nothing: what the session alone costs.
 * `tsx scripts/bench/null-server.ts SOCKET BYTES`; SIGTERM ends it.
 */
import { once } from 'node:events';
import { SystemClock } from '../../src/base/system-clock.js';
import { DeviceStatistics } from '../../src/device/device-statistics.js';
import { NullDevice } from '../../src/device/null-device.js';
import { duplicateDescriptor } from '../../src/io/descriptors.js';
import { NbdServer } from '../../src/nbd/server.js';

const [socket, size] = process.argv.slice(2);
const sizeBytes = Number(size);
if (socket === undefined || !Number.isSafeInteger(sizeBytes)) {
  console.error('null-server: SOCKET BYTES');
  process.exit(2);
}

const device = new NullDevice({ sizeBytes });
const server = new NbdServer(
  {},
  {
    clock: new SystemClock(),
    duplicateDescriptor,
    exports: {
      list: () => [{ name: 'null', description: '' }],
      open: () => ({
        ...{ volumeId: 'null', device, description: '', readOnly: false },
        statistics: new DeviceStatistics(),
        closed: () => undefined,
      }),
    },
  },
);
await server.listenUnix(socket);
await once(process, 'SIGTERM');
await server.close();
