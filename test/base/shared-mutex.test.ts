import { expect, it } from 'vitest';
import { SharedMutex } from '../../src/base/shared-mutex.js';
import { settle } from './waiting.js';

it('lets shared work run beside its like, and lone work when there is none', async () => {
  const mutex = new SharedMutex();
  const log: string[] = [];
  const ends: (() => void)[] = [];
  const work = (name: string) => async (): Promise<string> => {
    log.push(`${name} begins`);
    await new Promise<void>((resolve) => ends.push(resolve));
    log.push(`${name} ends`);
    return name;
  };
  const all: Promise<string>[] = [];
  for (const name of ['a', 'b', 'X', 'c', 'Y', 'd']) {
    all.push(name < 'a' ? mutex.alone(work(name)) : mutex.shared(work(name)));
    await settle();
  }
  for (let turn = 0; turn < 12; turn += 1) {
    await settle();
    ends.shift()?.();
  }
  expect(await Promise.all(all)).toEqual(['a', 'b', 'X', 'c', 'Y', 'd']);
  expect(log.slice(0, 5)).toEqual(['a begins', 'b begins', 'a ends', 'b ends', 'X begins']);
  for (const name of ['X', 'Y']) expect(log.indexOf(`${name} ends`)).toBe(log.indexOf(`${name} begins`) + 1);
});

it('goes on after work that failed', async () => {
  const mutex = new SharedMutex();
  const failure = new Error('no');
  await expect(mutex.shared(() => Promise.reject(failure))).rejects.toBe(failure);
  await expect(mutex.alone(() => Promise.reject(failure))).rejects.toBe(failure);
  expect(await mutex.alone(() => Promise.resolve(1))).toBe(1);
  expect(await mutex.shared(() => Promise.resolve(2))).toBe(2);
});
