import { pino, type Logger } from 'pino';
import type { Log } from '../base/log.js';
import type { LogLevel } from './setting-table.js';

/** Fields that must never be readable in a log, wherever they stand. */
const SECRET_FIELDS = ['token', 'secret', 'passphrase', 'dataKey', 'masterKey', 'authorization'];

/** The daemon's log: JSON lines on stdout, one per event. */
export class ProcessLog implements Log {
  readonly #logger: Logger;

  constructor(options: { level: LogLevel }, destination: { write(line: string): void }) {
    this.#logger = pino(
      {
        level: options.level,
        base: { pid: process.pid },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        redact: { paths: [...SECRET_FIELDS, ...SECRET_FIELDS.map((field) => `*.${field}`)], censor: '[redacted]' },
      },
      destination,
    );
  }

  setLevel(level: LogLevel): void {
    this.#logger.level = level;
  }

  debug(fields: object, message: string): void {
    this.#logger.debug(fields, message);
  }

  info(fields: object, message: string): void {
    this.#logger.info(fields, message);
  }

  warn(fields: object, message: string): void {
    this.#logger.warn(fields, message);
  }

  error(fields: object, message: string): void {
    this.#logger.error(fields, message);
  }
}
