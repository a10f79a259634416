import { afterEach, beforeEach } from 'vitest';
import type { ControlPlane } from '../../src/control/control-plane.js';
import { FakeWorld } from './fake-world.js';

/** The world of the running test, and the control plane over it. */
export let world: FakeWorld;
export let plane: ControlPlane;

/** Gives each test of a file a world of its own with a control plane that has started. */
export function eachWithPlane(): void {
  beforeEach(async () => {
    world = new FakeWorld();
    await start();
  });
  afterEach(() => plane.close());
}

/** Starts a control plane over what the last one left, which must be closed or dead. */
export async function start(): Promise<void> {
  plane = await world.start();
}

export async function restart(): Promise<void> {
  await plane.close();
  await start();
}
