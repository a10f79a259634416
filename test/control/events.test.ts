import { afterEach, describe, expect, it } from 'vitest';
import { EventLog, type NewEvent } from '../../src/control/event-log.js';
import { streamEvents } from '../../src/control/event-stream.js';
import { FakeWorld } from './fake-world.js';

const world = (): { world: FakeWorld; open: (keptMax?: number) => Promise<EventLog> } => {
  const fake = new FakeWorld();
  return {
    world: fake,
    open: async (keptMax = 10_000) => {
      const log = new EventLog({ keptMax }, fake);
      await log.start();
      opened.push(log);
      return log;
    },
  };
};
const opened: EventLog[] = [];
afterEach(async () => {
  for (const log of opened.splice(0)) await log.close();
});

function event(message: string, volume = 'web'): NewEvent {
  return { kind: 'test', volume, volumeId: `id-${volume}`, actor: 'test', message, level: 'info' };
}

describe('the event log', () => {
  it('keeps events over restarts, with ids that go on', async () => {
    const { open } = world();
    const first = await open();
    first.append(event('one'));
    first.append(event('two'));
    await first.close();
    const second = await open();
    second.append(event('three'));
    expect(second.recent(0, '').map(({ id, message }) => [id, message])).toEqual([
      [1, 'one'],
      [2, 'two'],
      [3, 'three'],
    ]);
    expect(second.recent(1, '').map((one) => one.message)).toEqual(['three']);
  });

  it('stores what was asked about something with an endless name', async () => {
    const { open } = world();
    const log = await open();
    log.append({ ...event('one', 'x'.repeat(2 * 1024 * 1024)), volumeId: '' });
    log.append(event('two'));
    await log.close();
    expect((await open()).recent(0, '').map(({ message }) => message)).toEqual(['one', 'two']);
  });

  it('stores a storm in few transactions, and soon', async () => {
    const { world: fake, open } = world();
    const log = await open();
    for (let index = 0; index < 1000; index += 1) log.append(event(`connection ${index}`));
    expect(fake.meta.transactions).toBe(0);
    await fake.advance(100);
    expect(fake.meta.transactions).toBe(4);
    fake.kill();
    expect((await open()).recent(0, '')).toHaveLength(1000);
  });

  it('keeps no more than its bound, in memory and on disk', async () => {
    const { world: fake, open } = world();
    const log = await open(300);
    for (let round = 0; round < 60; round += 1) {
      for (let index = 0; index < 20; index += 1) log.append(event(`${round}.${index}`));
      await fake.advance(100);
    }
    expect(log.recent(0, '').length).toBeLessThanOrEqual(330);
    const stored = (await fake.meta.list('control/events/')).entries;
    expect(stored.length).toBeLessThanOrEqual(16);
    await log.close();
    const again = await open(300);
    expect(again.recent(1, '')[0]).toMatchObject({ id: 1200, message: '59.19' });
    expect(again.recent(300, '')).toHaveLength(300);
  });

  it('drops and counts what comes faster than it can be stored', async () => {
    const { world: fake, open } = world();
    const log = await open();
    fake.meta.trouble = new Error('full');
    for (let index = 0; index < 5000; index += 1) log.append(event(`${index}`));
    await log.flush();
    fake.meta.trouble = null;
    await log.flush();
    await log.flush();
    expect(log.recent(1, '')[0]).toMatchObject({ kind: 'events.dropped', message: expect.stringContaining('904') });
  });

  it('tries again when the disk refused', async () => {
    const { world: fake, open } = world();
    const log = await open();
    fake.meta.trouble = new Error('full');
    log.append(event('one'));
    await fake.advance(100);
    fake.meta.trouble = null;
    await fake.advance(5000);
    expect((await fake.meta.list('control/events/')).entries).toHaveLength(1);
  });

  it('survives a chunk that is not what was written', async () => {
    const { world: fake, open } = world();
    const log = await open();
    log.append(event('one'));
    await log.close();
    const [{ key }] = (await fake.meta.list('control/events/')).entries;
    await fake.meta.transaction({ set: [{ key, value: new TextEncoder().encode('rubbish') }] });
    const again = await open();
    expect(again.recent(0, '')).toEqual([]);
    again.append(event('two'));
    expect(again.recent(0, '')[0].id).toBe(2);
  });
});

describe('following events', () => {
  it('gives the past, then what comes, of one volume, until it is aborted', async () => {
    const { open } = world();
    const log = await open();
    log.append(event('past', 'a'));
    log.append(event('other', 'b'));
    const client = new AbortController();
    const stream = streamEvents(log, { limit: 0, volume: 'a', follow: true }, client.signal);
    expect((await stream.next()).value).toMatchObject({ message: 'past' });
    const next = stream.next();
    log.append(event('noise', 'b'));
    log.append(event('new', 'a'));
    expect((await next).value).toMatchObject({ message: 'new' });
    const end = stream.next();
    client.abort();
    expect((await end).done).toBe(true);
  });

  it('ends after the past when it does not follow', async () => {
    const { open } = world();
    const log = await open();
    log.append(event('one'));
    const seen = [];
    for await (const one of streamEvents(log, { limit: 0, volume: '', follow: false }, new AbortController().signal))
      seen.push(one);
    expect(seen).toHaveLength(1);
  });

  it('cuts off a follower that is too slow', async () => {
    const { open } = world();
    const log = await open();
    const stream = streamEvents(log, { limit: 0, volume: '', follow: true }, new AbortController().signal);
    const first = stream.next();
    log.append(event('wakes it'));
    await first;
    for (let index = 0; index < 10_001; index += 1) {
      log.append(event('flood'));
      if (index % 4000 === 0) await log.flush();
    }
    const rest = (async () => {
      while (!(await stream.next()).done);
    })();
    await expect(rest).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});
