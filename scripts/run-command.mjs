import { spawn } from 'node:child_process';

/**
 * @typedef {object} CommandResult
 * @property {number} status Exit status; 128 + signal number when a signal ended it; 127 when it could not start.
 * @property {string} stdout
 * @property {string} stderr
 */

/**
 * @typedef {object} CommandOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {boolean} [show] Let its output through instead of collecting it.
 * @property {string} [input] Given on standard input.
 */

const SIGNAL_STATUS_BASE = 128;
const NOT_STARTED = 127;
/** @type {Record<string, number>} */
const SIGNAL_NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/**
 * Runs a program and waits for it. Never rejects: a program that cannot start has status 127 and says why in stderr.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {CommandOptions} [options]
 * @returns {Promise<CommandResult>}
 */
export function runCommand(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', ...outputs(options.show === true)],
    });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    child.once('error', (error) => {
      resolve({ status: NOT_STARTED, stdout: '', stderr: error.message });
    });
    child.once('close', (code, signal) => {
      const status = code ?? SIGNAL_STATUS_BASE + (SIGNAL_NUMBERS[signal ?? ''] ?? 0);
      resolve({ status, stdout: stdout(), stderr: stderr() });
    });
    if (options.input !== undefined) {
      // A program that ends before it has read everything is not our failure: its exit status tells.
      child.stdin?.once('error', () => undefined);
      child.stdin?.end(options.input);
    }
  });
}

/** @param {boolean} show @returns {['inherit', 'inherit'] | ['pipe', 'pipe']} */
function outputs(show) {
  return show ? ['inherit', 'inherit'] : ['pipe', 'pipe'];
}

/** @param {NodeJS.ReadableStream | null} stream */
function collect(stream) {
  /** @type {Buffer[]} */
  const pieces = [];
  stream?.on('data', (/** @type {Buffer} */ piece) => pieces.push(piece));
  return () => Buffer.concat(pieces).toString('utf8');
}
