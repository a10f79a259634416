/** What /proc says of a process and its children (proc_pid_stat(5), proc_pid_status(5)). */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: what the kernel counts in towards user space on every architecture that we run on. */
const TICKS_PER_SECOND = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly ticks: number;
}

/** Its fields after the name, which may itself hold blanks and parentheses. null: no such process any more. */
export function parseStat(text: string): Stat | null {
  const end = text.lastIndexOf(')');
  const pid = Number(text.slice(0, text.indexOf(' ')));
  const fields = text.slice(end + 2).split(' ');
  // After the name: state 0, parent 1, ..., utime 11, stime 12, cutime 13, cstime 14.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  if (end < 0 || fields.length < 15 || !Number.isFinite(ticks)) return null;
  return { pid, parent: Number(fields[1]), ticks };
}

/** Seconds of processor time that it, its children and those that it has waited for have used. */
export function cpuSeconds(pid: number): number {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => statOf(name))
    .filter((stat) => stat !== null);
  let ticks = 0;
  const wanted = [pid];
  for (const next of wanted) {
    for (const stat of stats) {
      if (stat.pid === next) ticks += stat.ticks;
      if (stat.parent === next) wanted.push(stat.pid);
    }
  }
  return ticks / TICKS_PER_SECOND;
}

/** Seconds that the threads of one process have run, to the nanosecond; threads that have ended are not in it. */
export function runSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ns = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return ns.reduce((sum, text) => sum + Number(text), 0) / 1e9;
}

/** Bytes of memory that it has resident, and of these what no file backs. */
export function residentBytes(pid: number): { resident: number; anonymous: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytesOf = (name: string): number => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text);
    return Number(match?.[1] ?? Number.NaN) * 1024;
  };
  return { resident: bytesOf('VmRSS'), anonymous: bytesOf('RssAnon') };
}

/** Seconds that all processors together were not idle since the machine started, time stolen by the host included. */
export function busySeconds(): number {
  return parseBusy(readFileSync('/proc/stat', 'utf8'));
}

/** The line `cpu`: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)). */
export function parseBusy(text: string): number {
  const line = /^cpu\s+(.*)$/m.exec(text)?.[1];
  if (line === undefined) return Number.NaN;
  const [user = Number.NaN, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(' ').map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

function statOf(pid: string): Stat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    // It ended while the list was read.
    return null;
  }
}
