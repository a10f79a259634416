// A daemon of the quick start's own, and the `gfs` command that talks to it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { runCommand } from './run-command.mjs';

const READY_WAIT_MS = 60_000;
/** Between two questions whether it is ready; its exit is noticed at once. */
const READY_POLL_MS = 200;
const LOG_TAIL_LINES = 15;

/** The daemon's addresses, and the ports that are used while they are free. */
const ADDRESSES = [
  ['--bind-address', 8080],
  ['--ipc-address', 8090],
  ['--nbd-address', 10809],
  ['--metrics-address', 9810],
];

export class QuickStartDaemon {
  #program;
  #storagePath;
  #logPath;
  /** @type {string[]} */
  #addressFlags = [];
  #ipcAddress = '';
  /** @type {import('node:child_process').ChildProcess | null} */
  #child = null;

  /**
   * @param {string} program dist/main.js
   * @param {string} storagePath
   * @param {string} logPath
   */
  constructor(program, storagePath, logPath) {
    this.#program = program;
    this.#storagePath = storagePath;
    this.#logPath = logPath;
  }

  /** The command that starts it, as a person would type it. Defaults are left out. */
  get commandLine() {
    return ['gfs', '-d', '--storage-path', this.#storagePath, ...this.#addressFlags].join(' ');
  }

  get pid() {
    return this.#child?.pid ?? 0;
  }

  get ipcAddress() {
    return this.#ipcAddress;
  }

  get usesDefaultPorts() {
    return this.#addressFlags.length === 0;
  }

  /** Environment in which `gfs` finds this daemon even if others run on this machine. */
  get environment() {
    return {
      ...process.env,
      GFS_DAEMON_ADDRESS: this.#ipcAddress,
      GFS_TOKEN_FILE: join(this.#storagePath, 'run/control.token'),
    };
  }

  /** Picks ports: the defaults where they are free, otherwise what the system gives. */
  async choosePorts() {
    const taken = [];
    for (const [flag, port] of ADDRESSES) {
      const free = await freePort(Number(port));
      if (flag === '--ipc-address') this.#ipcAddress = `127.0.0.1:${free}`;
      if (free === port) continue;
      taken.push(port);
      this.#addressFlags.push(`${flag}`, `127.0.0.1:${free}`);
    }
    return taken;
  }

  /** Starts it and waits until `gfs daemon status` exits 0. Returns '' or why it is not ready. */
  async start() {
    mkdirSync(this.#storagePath, { recursive: true, mode: 0o700 });
    const log = openSync(this.#logPath, 'a', 0o600);
    // Its own process group: Ctrl-C is for us, and we stop it in order.
    const args = [this.#program, '-d', '--storage-path', this.#storagePath, ...this.#addressFlags];
    const child = spawn(process.execPath, args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    this.#child = child;
    const ended = new AbortController();
    child.once('exit', () => ended.abort());
    const deadlineMs = performance.now() + READY_WAIT_MS;
    let status = await this.gfs(['daemon', 'status']);
    while (status.status !== 0) {
      if (ended.signal.aborted)
        return `the daemon ended with status ${child.exitCode ?? 'by a signal'}:\n${this.logTail()}`;
      if (performance.now() > deadlineMs)
        return `not ready after ${READY_WAIT_MS / 1000} s: ${status.stderr}\n${this.logTail()}`;
      await pause(READY_POLL_MS, ended.signal);
      status = await this.gfs(['daemon', 'status']);
    }
    return '';
  }

  /** Sends a signal and waits for its end. Returns its exit status; null when a signal ended it. @param {NodeJS.Signals} signal */
  async end(signal) {
    const child = this.#child;
    if (child === null) return null;
    const running = child.exitCode === null && child.signalCode === null;
    if (running) {
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    }
    this.#child = null;
    return child.exitCode;
  }

  /** Resolves when it has ended by itself or by `gfs daemon stop`. */
  async ended() {
    const child = this.#child;
    if (child === null) return null;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode;
  }

  /** Runs `gfs` with these arguments. @param {readonly string[]} args */
  gfs(args) {
    return runCommand(process.execPath, [this.#program, ...args], { env: this.environment });
  }

  logTail() {
    return readFileSync(this.#logPath, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  }
}

/** `wanted` if nobody listens there, otherwise a port that the system picks. @param {number} wanted */
async function freePort(wanted) {
  return (await portOf(wanted)) ?? (await portOf(0)) ?? 0;
}

/** Listens for a moment. @param {number} port @returns {Promise<number | null>} */
function portOf(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : null));
    });
  });
}

/** @param {number} delayMs @param {AbortSignal} signal */
function pause(delayMs, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve(undefined);
    }
  });
}
