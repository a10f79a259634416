/** Where a room tells what happened. One line per event; `fields` are data, `message` is for people. No secrets. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
