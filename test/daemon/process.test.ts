import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { ProcessLog } from '../../src/daemon/process-log.js';
import { ProcessSignals } from '../../src/daemon/process-signals.js';
import { LogLines } from '../base/log-lines.js';
import { settle } from '../base/waiting.js';

class FakeProcess extends EventEmitter {
  readonly exits: number[] = [];
  exit(status: number): void {
    this.exits.push(status);
  }
}

describe('signals', () => {
  it('stop in order at first, and at once when they come again', async () => {
    const process_ = new FakeProcess();
    const signals = new ProcessSignals(process_, new LogLines());
    process_.emit('SIGTERM');
    expect(await signals.stopping).toBe('SIGTERM');
    expect(process_.exits).toEqual([]);
    process_.emit('SIGINT');
    expect(process_.exits).toEqual([1]);
    signals.close();
    expect(process_.eventNames()).toEqual([]);
  });

  it('do not hurry a stop that was asked for over the API', async () => {
    const process_ = new FakeProcess();
    const signals = new ProcessSignals(process_, new LogLines());
    signals.stop('asked by cli');
    process_.emit('SIGTERM');
    expect(await signals.stopping).toBe('asked by cli');
    expect(process_.exits).toEqual([]);
  });

  it('reload one after another, and not before there is something to reload', async () => {
    const process_ = new FakeProcess();
    const signals = new ProcessSignals(process_, new LogLines());
    process_.emit('SIGHUP');
    await settle();
    let [running, most, runs] = [0, 0, 0];
    signals.onReload(async () => {
      running += 1;
      runs += 1;
      most = Math.max(most, running);
      await settle();
      running -= 1;
    });
    process_.emit('SIGHUP');
    process_.emit('SIGHUP');
    for (let round = 0; round < 4; round += 1) await settle();
    expect([runs, most]).toEqual([2, 1]);
  });

  it.each(['uncaughtException', 'unhandledRejection'])('end the process on %s, with a line', (event) => {
    const process_ = new FakeProcess();
    const log = new LogLines();
    new ProcessSignals(process_, log);
    process_.emit(event, new Error('a bug'));
    expect(process_.exits).toEqual([1]);
    expect(log.lines).toMatchObject([{ level: 'error', fields: { error: expect.stringContaining('a bug') } }]);
  });
});

describe('the log', () => {
  function open(level: 'info' | 'warn'): { log: ProcessLog; lines: () => Record<string, unknown>[] } {
    const written: string[] = [];
    const log = new ProcessLog({ level }, { write: (line) => void written.push(line) });
    return { log, lines: () => written.map((line) => JSON.parse(line) as Record<string, unknown>) };
  }

  it('is one line of JSON for each event, at its level', () => {
    const { log, lines } = open('warn');
    log.info({}, 'not shown');
    log.warn({ volume: 'web' }, 'shown');
    log.setLevel('info');
    log.info({}, 'shown too');
    expect(lines()).toMatchObject([{ level: 'warn', volume: 'web', msg: 'shown' }, { msg: 'shown too' }]);
  });

  it('never shows what is secret', () => {
    const { log, lines } = open('info');
    for (const name of ['token', 'secret', 'passphrase', 'dataKey', 'masterKey', 'authorization']) {
      log.info({ [name]: 'hunter2', nested: { [name]: 'hunter2' } }, 'x');
    }
    expect(lines()).toHaveLength(6);
    expect(JSON.stringify(lines())).not.toContain('hunter2');
  });
});
