import { readFileSync } from 'node:fs';

/** Process numbers are reused; number and start together name one process. */
export const NOT_RUNNING = -1;

/**
 * When the kernel started process `pid`, in clock ticks since boot (proc(5), stat field 22), or NOT_RUNNING. A zombie
 * does not run. Where there is no /proc, 0 for every live process.
 */
export function processStart(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    // Field 2, the command name, may itself hold blanks and parentheses: the fields begin behind the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const state = fields[0] ?? 'X';
    if (state === 'Z' || state === 'X') return NOT_RUNNING;
    return Number(fields[19]);
  } catch {
    return hasProc() ? NOT_RUNNING : signalReaches(pid);
  }
}

function hasProc(): boolean {
  try {
    readFileSync('/proc/self/stat');
    return true;
  } catch {
    return false;
  }
}

function signalReaches(pid: number): number {
  try {
    process.kill(pid, 0);
    return 0;
  } catch {
    return NOT_RUNNING;
  }
}
