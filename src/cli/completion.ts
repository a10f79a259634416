import type { ControlClient } from '../ipc/client.js';
import type { Command } from './command.js';
import { GLOBAL_OPTIONS } from './global-options.js';
import type { OptionSpec, OptionSpecs, Subject } from './option-spec.js';
import type { Session } from './session.js';

export interface Candidate {
  readonly text: string;
  /** What a shell shows beside it; may be empty. */
  readonly summary: string;
}

/** What could stand in place of the last of `typed`. Empty: the shell offers files. */
export async function candidates(
  typed: readonly string[],
  commands: readonly Command[],
  session: Session,
): Promise<Candidate[]> {
  const current = typed.at(-1) ?? '';
  const { words, pending } = readTyped(typed.slice(0, -1), commands);
  const all = pending === undefined ? await here(words, current, commands, session) : await choicesOf(pending, session);
  return all.filter(({ text }) => text.startsWith(current));
}

interface Typed {
  readonly words: readonly string[];
  /** The option whose value comes next. */
  readonly pending: OptionSpec | undefined;
}

/** Leaves out options and their values, so that words keep their places. */
function readTyped(typed: readonly string[], commands: readonly Command[]): Typed {
  const words: string[] = [];
  let pending: OptionSpec | undefined;
  for (const text of typed) {
    if (pending !== undefined) {
      pending = undefined;
      continue;
    }
    if (!text.startsWith('-')) {
      words.push(text);
      continue;
    }
    const spec = findOption(text, optionsAt(words, commands));
    if (spec !== undefined && spec.kind !== 'flag' && !text.includes('=')) pending = spec;
  }
  return { words, pending };
}

function findOption(typed: string, options: OptionSpecs): OptionSpec | undefined {
  return Object.entries(options).find(
    ([name, spec]) => typed === `--${name}` || typed === `-${spec.alias ?? ' '}`,
  )?.[1];
}

function optionsAt(words: readonly string[], commands: readonly Command[]): OptionSpecs {
  return { ...GLOBAL_OPTIONS, ...commandAt(words, commands)?.options };
}

function commandAt(words: readonly string[], commands: readonly Command[]): Command | undefined {
  const fitting = commands.filter((command) => command.verb.every((word, depth) => words[depth] === word));
  // Of a verb and one that is longer (`volume scrub`, `volume scrub status`) the longer is meant.
  return fitting.sort((one, other) => other.verb.length - one.verb.length)[0];
}

async function here(
  words: readonly string[],
  current: string,
  commands: readonly Command[],
  session: Session,
): Promise<Candidate[]> {
  if (current.startsWith('-')) {
    return Object.entries(optionsAt(words, commands)).map(([name, { summary }]) => ({ text: `--${name}`, summary }));
  }
  const command = commandAt(words, commands);
  if (command === undefined) return verbsAfter(words, commands);
  const specs = Object.values(command.words);
  const spec = specs[words.length - command.verb.length] ?? (specs.at(-1)?.many === true ? specs.at(-1) : undefined);
  const values = spec === undefined ? [] : await choicesOf(spec, session);
  return words.length === command.verb.length ? [...verbsAfter(words, commands), ...values] : values;
}

function verbsAfter(words: readonly string[], commands: readonly Command[]): Candidate[] {
  const found = new Map<string, string>();
  for (const command of commands) {
    if (!words.every((word, depth) => command.verb[depth] === word)) continue;
    const next = command.verb[words.length];
    if (next === undefined) continue;
    const isLast = command.verb.length === words.length + 1;
    found.set(next, isLast ? command.summary : `${next} commands`);
  }
  return [...found].map(([text, summary]) => ({ text, summary }));
}

async function choicesOf(
  spec: { readonly choices?: readonly string[]; readonly completes?: Subject },
  session: Session,
): Promise<Candidate[]> {
  if (spec.choices !== undefined) return spec.choices.map((text) => ({ text, summary: '' }));
  try {
    return await namesOf(spec.completes, session);
  } catch {
    return []; // nobody presses Tab to read an error
  }
}

async function namesOf(subject: Subject | undefined, session: Session): Promise<Candidate[]> {
  if (subject === undefined || subject === 'file') return [];
  const client = await session.client();
  if (subject === 'storage-class') {
    return (await client.listStorageClasses()).map(({ name }) => ({ text: name, summary: '' }));
  }
  if (subject === 'qos-policy') {
    return (await client.qos.listPolicies()).map(({ name }) => ({ text: name, summary: '' }));
  }
  if (subject === 'snapshot') return snapshotNames(client);
  const volumes = await client.listVolumes({ labels: {}, retained: subject === 'retained-volume' });
  const names = volumes.map(({ name, state }) => ({ text: name, summary: state }));
  return subject === 'point' ? [...names, ...(await snapshotNames(client))] : names;
}

async function snapshotNames({ snapshots }: ControlClient): Promise<Candidate[]> {
  const found = await snapshots.list({ volume: '', labels: {} });
  return found.map(({ volume, name, state }) => ({ text: `${volume}@${name}`, summary: state }));
}
