import { expect } from 'vitest';
import type { ControlPlane } from '../../src/control/control-plane.js';
import { FakeWorld } from './fake-world.js';

interface Row {
  readonly layer: number;
  readonly dataKeyNumbers: number[];
  readonly phase: string;
  readonly name: string;
  readonly id: string;
}

async function rowsOf(world: FakeWorld, prefix: string): Promise<Row[]> {
  const { entries } = await world.meta.list(prefix);
  return entries.map((entry) => JSON.parse(new TextDecoder().decode(entry.value)) as Row);
}

const numerically = (a: number, b: number): number => a - b;

/**
 * Rows, layers and keys agree: each layer belongs to exactly one volume or snapshot, or is hidden; each key is named by
 * some row; and nothing is being deleted.
 */
export async function expectWhole(world: FakeWorld, plane: ControlPlane): Promise<void> {
  const rows = await rowsOf(world, 'control/volume/');
  const snapshots = await rowsOf(world, 'control/snapshot/');
  const all = [...rows, ...snapshots];
  expect(all.map((row) => row.phase).filter((phase) => phase === 'deleting')).toEqual([]);
  const shown = [...world.host.store].filter(([, { hidden }]) => !hidden).map(([layer]) => layer);
  expect(shown.sort(numerically)).toEqual(all.map((row) => row.layer).sort(numerically));
  for (const { layer } of rows) expect(world.host.store.get(layer)?.state).toBe('head');
  for (const { layer } of snapshots) expect(world.host.store.get(layer)?.state).toBe('frozen');
  const numbers = [...new Set(all.flatMap((row) => row.dataKeyNumbers))].sort(numerically);
  expect([...world.vault.files.keys()].sort(numerically)).toEqual(numbers);
  const keyRecords = (await world.meta.list('control/data-key/')).entries.map((entry) =>
    Number(entry.key.split('/')[2]),
  );
  expect(keyRecords.sort(numerically)).toEqual(numbers);
  const names = (await world.meta.list('control/name/')).entries.map((entry) => entry.key.split('/')[2]);
  expect(names.sort()).toEqual(
    rows
      .filter((row) => row.phase === 'live')
      .map((row) => row.name)
      .sort(),
  );
  expect((await world.meta.list('control/making/')).entries).toEqual([]);
  expect(plane.problems()).toEqual([]);
}

export type Act = (plane: ControlPlane) => Promise<unknown>;

/**
 * Runs `act` once to count its steps, then once for each step and side of it with a crash there, starts anew and
 * checks. Resolves to the number of steps.
 */
export async function crashEverywhere(
  prepare: Act,
  act: Act,
  check: (plane: ControlPlane, world: FakeWorld) => void | Promise<void>,
): Promise<number> {
  const count = async (): Promise<number> => {
    const world = new FakeWorld();
    const plane = await world.start();
    await prepare(plane);
    world.crash.disarm();
    await act(plane);
    const steps = world.crash.steps.length;
    await plane.close();
    return steps;
  };
  const steps = await count();
  for (let step = 0; step < steps; step += 1) {
    for (const before of [true, false]) {
      const world = new FakeWorld();
      const dying = await world.start();
      await prepare(dying);
      world.crash.arm(step, before);
      await act(dying).catch(() => undefined);
      expect(world.crash.dead).toBe(true);
      world.kill();
      const plane = await world.start();
      await expectWhole(world, plane);
      await check(plane, world);
      await plane.close();
    }
  }
  return steps;
}
