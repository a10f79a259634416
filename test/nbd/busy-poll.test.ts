import { describe, expect, it } from 'vitest';
import { BusyPoll } from '../../src/nbd/busy-poll.js';
import { BUSY_POLL_ANSWERS_MIN, BUSY_POLL_MS } from '../../src/nbd/limits.js';
import { ManualClock } from '../base/manual-clock.js';

/** A manual clock that counts the turns that were asked for, and runs them when it is told to. */
class TurnClock extends ManualClock {
  turns: (() => void)[] = [];

  override endOfTurn(callback: () => void): void {
    this.turns.push(callback);
  }

  turn(): void {
    const due = this.turns;
    this.turns = [];
    for (const callback of due) callback();
  }
}

describe('staying awake between requests', () => {
  function quick(clock: TurnClock, poll: BusyPoll, wakes: number, gapMs = BUSY_POLL_MS / 2): void {
    for (let wake = 0; wake < wakes; wake++) {
      clock.advance(gapMs);
      poll.answered();
    }
  }

  it('begins when requests follow each other quickly, and ends a moment after the last', () => {
    const clock = new TurnClock();
    const poll = new BusyPoll(clock, true);
    quick(clock, poll, BUSY_POLL_ANSWERS_MIN);
    expect(clock.turns).toHaveLength(0);
    quick(clock, poll, 5);
    expect(clock.turns, 'one turn at a time, however much arrives').toHaveLength(1);
    clock.advance(BUSY_POLL_MS / 2);
    clock.turn();
    expect(clock.turns, 'still waiting').toHaveLength(1);
    clock.advance(BUSY_POLL_MS / 2);
    clock.turn();
    expect(clock.turns, 'nothing came').toHaveLength(0);
    quick(clock, poll, BUSY_POLL_ANSWERS_MIN - 1);
    expect(clock.turns, 'it has to begin anew').toHaveLength(0);
  });

  it('never begins when requests come slowly, or when it is off', () => {
    const clock = new TurnClock();
    quick(clock, new BusyPoll(clock, true), 1000, BUSY_POLL_MS * 1.1);
    quick(clock, new BusyPoll(clock, false), 1000);
    expect(clock.turns).toHaveLength(0);
  });

  it('leaves the core to the device while that works, and goes on after the answer', () => {
    const clock = new TurnClock();
    const poll = new BusyPoll(clock, true);
    quick(clock, poll, BUSY_POLL_ANSWERS_MIN + 1);
    poll.rest();
    clock.turn();
    expect(clock.turns).toHaveLength(0);
    quick(clock, poll, 1);
    expect(clock.turns).toHaveLength(1);
  });

  it('ends when it is stopped, also under a clock that stands still', () => {
    const clock = new TurnClock();
    const poll = new BusyPoll(clock, true);
    quick(clock, poll, BUSY_POLL_ANSWERS_MIN + 1);
    clock.turn();
    expect(clock.turns).toHaveLength(1);
    poll.stop();
    clock.turn();
    expect(clock.turns).toHaveLength(0);
    quick(clock, poll, 100);
    expect(clock.turns).toHaveLength(0);
  });
});
