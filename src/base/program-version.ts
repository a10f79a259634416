import { readFileSync } from 'node:fs';

/** The version in package.json, which lies at the same distance from src/base and dist/base. */
export function programVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
