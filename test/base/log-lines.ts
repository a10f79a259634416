import type { Log } from '../../src/base/log.js';

/** A log that keeps its lines, for a test to look at. */
export class LogLines implements Log {
  readonly lines: { level: string; fields: object; message: string }[] = [];
  debug = (fields: object, message: string): void => void this.lines.push({ level: 'debug', fields, message });
  info = (fields: object, message: string): void => void this.lines.push({ level: 'info', fields, message });
  warn = (fields: object, message: string): void => void this.lines.push({ level: 'warn', fields, message });
  error = (fields: object, message: string): void => void this.lines.push({ level: 'error', fields, message });
}
