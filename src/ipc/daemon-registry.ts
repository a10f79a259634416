/**
 * Who runs here: one small file per running daemon in the user's runtime folder, so that the command line finds the
 * address and the token of its own user's daemons by itself.
 *
 *     FOLDER/PID.json   {"pid","startedAtMs","ipcAddress","tokenFile","storagePath","processStart"}
 *
 * FOLDER is the first that can be had of $XDG_RUNTIME_DIR/galleonfs, /run/galleonfs (root), TMPDIR/galleonfs-UID; or
 * $GFS_RUNTIME_FOLDER and no other, for those who keep several worlds apart (tests do).
 * Readers look into all of them: a daemon started by systemd and a shell of the same user differ in XDG_RUNTIME_DIR.
 * A folder or file of another user, or one that others may write to, is ignored: it would hand our token to a stranger.
 */
import { lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { lstat, mkdir, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import { processStart } from './process-start.js';

export interface DaemonEntry {
  readonly pid: number;
  readonly startedAtMs: number;
  /** Where the control API listens: `HOST:PORT` or `unix:PATH`. */
  readonly ipcAddress: string;
  /** Absolute path of the bearer token. */
  readonly tokenFile: string;
  /** Absolute path of the node's storage. */
  readonly storagePath: string;
}

/** The parts of the process that decide where the registry is. */
export interface RegistryPlace {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly temporaryFolder: string;
  /** The folder that root uses without XDG_RUNTIME_DIR; a parameter so that tests stay out of it. */
  readonly systemFolder: string;
}

/** The place of this process. */
export function registryPlace(environment: Readonly<Record<string, string | undefined>>): RegistryPlace {
  const uid = process.getuid?.() ?? 0;
  return { environment, uid, temporaryFolder: tmpdir(), systemFolder: '/run/galleonfs' };
}

/** Folders of this user, the preferred first. */
export function registryFolders(place: RegistryPlace): string[] {
  const chosen = place.environment['GFS_RUNTIME_FOLDER'];
  if (chosen !== undefined && chosen.startsWith('/')) return [chosen];
  const runtime = place.environment['XDG_RUNTIME_DIR'];
  const folders: string[] = [];
  if (runtime !== undefined && runtime.startsWith('/')) folders.push(join(runtime, 'galleonfs'));
  if (place.uid === 0) folders.push(place.systemFolder);
  folders.push(join(place.temporaryFolder, `galleonfs-${String(place.uid)}`));
  return folders;
}

/**
 * Makes a running daemon known to its user. Closing what it returns takes the entry away again; a daemon that dies
 * without doing so leaves an entry that readers recognise as stale. Throws when no folder can be used.
 */
export async function registerDaemon(
  entry: DaemonEntry,
  place: RegistryPlace = registryPlace(process.env),
): Promise<Closable> {
  let failure: unknown;
  for (const folder of registryFolders(place)) {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (!isOurs(await lstat(folder), place.uid)) {
        failure ??= new Error(`${folder} belongs to another user or is open to others; remove it or chmod it to 0700`);
        continue;
      }
      const file = join(folder, `${String(entry.pid)}.json`);
      const text = JSON.stringify({ ...entry, processStart: processStart(entry.pid) }) + '\n';
      // A reader must never see half an entry.
      const temporary = `${file}.new`;
      rmSync(temporary, { force: true });
      await writeFile(temporary, text, { mode: 0o600, flag: 'wx' });
      await rename(temporary, file);
      return {
        close: () => {
          rmSync(file, { force: true });
          return Promise.resolve();
        },
      };
    } catch (thrown) {
      failure ??= thrown;
    }
  }
  throw failure as Error;
}

/** The daemons of this user that run now, oldest first. Removes the entries of dead ones. */
export function listDaemons(place: RegistryPlace = registryPlace(process.env)): DaemonEntry[] {
  const entries = new Map<number, DaemonEntry>();
  for (const folder of registryFolders(place)) {
    for (const file of entryFiles(folder, place.uid)) {
      const entry = readEntry(file, place.uid);
      if (entry === undefined) continue;
      if (entry.processStart === processStart(entry.pid)) entries.set(entry.pid, withoutStart(entry));
      else rmSync(file, { force: true });
    }
  }
  return [...entries.values()].sort((a, b) => a.startedAtMs - b.startedAtMs || a.pid - b.pid);
}

interface StoredEntry extends DaemonEntry {
  /** When the kernel started the process; a recycled process number differs in it. */
  readonly processStart: number;
}

function withoutStart({ pid, startedAtMs, ipcAddress, tokenFile, storagePath }: StoredEntry): DaemonEntry {
  return { pid, startedAtMs, ipcAddress, tokenFile, storagePath };
}

function entryFiles(folder: string, uid: number): string[] {
  try {
    if (!isOurs(lstatSync(folder), uid)) return [];
    return readdirSync(folder)
      .filter((name) => /^\d+\.json$/.test(name))
      .map((name) => join(folder, name));
  } catch {
    return []; // no such folder: nobody has registered there
  }
}

function readEntry(file: string, uid: number): StoredEntry | undefined {
  try {
    const stat = lstatSync(file);
    if (!stat.isFile() || stat.uid !== uid) return undefined;
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (isStoredEntry(parsed)) return parsed;
    rmSync(file, { force: true });
  } catch (thrown) {
    // Entries appear by rename, so what does not parse is rubbish, not an entry in the making.
    if (errnoOf(thrown) === '') rmSync(file, { force: true });
  }
  return undefined;
}

function isStoredEntry(value: unknown): value is StoredEntry {
  if (typeof value !== 'object' || value === null) return false;
  const entry = value as Record<string, unknown>;
  const numbers = ['pid', 'startedAtMs', 'processStart'].every((key) => Number.isSafeInteger(entry[key]));
  const texts = ['ipcAddress', 'tokenFile', 'storagePath'].every((key) => typeof entry[key] === 'string');
  return numbers && texts;
}

function isOurs(stat: { isDirectory(): boolean; uid: number; mode: number }, uid: number): boolean {
  return stat.isDirectory() && stat.uid === uid && (stat.mode & 0o022) === 0;
}
