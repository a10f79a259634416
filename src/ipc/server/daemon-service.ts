import type { ControlPlane } from '../../control/control-plane.js';
import type { Caller } from '../../control/caller.js';
import type { ConfigValue, DaemonServer, NodeStatus } from '../generated/control.js';
import type { CallGate } from './call-gate.js';
import { serverStream, unary } from './call-handlers.js';

/** What the composition says about the daemon itself. */
export interface NodeControl {
  status(): NodeStatus;
  config(): ConfigValue[];
  /** Begins an orderly stop, as SIGTERM does; returns before it is done. */
  stop(caller: Caller): void;
  readonly pid: number;
}

/** The service Daemon of control.proto. */
export function daemonService(gate: CallGate, plane: ControlPlane, node: NodeControl): DaemonServer {
  return {
    status: unary(gate, () => node.status()),
    config: unary(gate, () => ({ values: node.config() })),
    stop: unary(gate, (_request, caller) => {
      node.stop(caller);
      return { pid: node.pid };
    }),
    events: serverStream(
      gate,
      ({ limit, volume, follow }, caller) => plane.streamEvents({ limit, volume, follow }, caller.signal),
      (event) => ({ ...event }),
    ),
  };
}
