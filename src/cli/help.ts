import { usageError } from './cli-error.js';
import type { Command } from './command.js';
import { GLOBAL_OPTIONS } from './global-options.js';
import type { OptionSpecs } from './option-spec.js';
import { usageLine } from './command-line.js';
import { suggestion } from './suggest.js';

const INTRODUCTION = `gfs: encrypted, journaled block volumes on machines you own

Start a daemon with \`gfs -d --storage-path DIR\`, then:
  gfs volume create data --size 10G
  gfs volume export data
  gfs volume get data`;

/** The help text of a verb, of a group of verbs, or (with no words) of everything. Throws USAGE for an unknown one. */
export function helpText(verb: readonly string[], commands: readonly Command[]): string {
  const shown = commands.filter((command) => command.hidden !== true);
  const under = shown.filter((command) => verb.every((word, depth) => command.verb[depth] === word));
  const exact = under.find((command) => command.verb.length === verb.length);
  if (exact !== undefined) {
    return commandHelp(
      exact,
      under.filter((command) => command !== exact),
    );
  }
  const line = ['gfs', ...verb].join(' ');
  if (under.length === 0) {
    const known = shown.map((command) => command.verb.join(' '));
    throw usageError(`there is no \`${line}\`${suggestion(verb.join(' '), known, '`gfs help` lists what there is')}`);
  }
  const parts = verb.length === 0 ? [INTRODUCTION] : [`Usage: ${line} VERB [options]`];
  parts.push('Commands:\n' + columns(under.map((command) => [usageLine(command), command.summary])));
  parts.push('Options of every command:\n' + optionLines(GLOBAL_OPTIONS));
  parts.push(
    verb.length === 0
      ? 'Exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon reachable, 4 not found, 130 interrupted.\n' +
          '`gfs help VERB` explains one command; `gfs -d --help` the daemon.'
      : `\`${line} VERB --help\` explains one command.`,
  );
  return parts.join('\n\n') + '\n';
}

/** `longer`: verbs that begin with this one. */
function commandHelp(command: Command, longer: readonly Command[]): string {
  const parts = [`Usage: ${usageLine(command)} [options]`, sentence(command.summary)];
  const words = Object.entries(command.words);
  if (words.length > 0) {
    parts.push('Words:\n' + columns(words.map(([name, spec]) => [name.toUpperCase(), spec.summary])));
  }
  if (Object.keys(command.options).length > 0) parts.push('Options:\n' + optionLines(command.options));
  parts.push('Options of every command:\n' + optionLines(GLOBAL_OPTIONS));
  if (command.details !== undefined) parts.push(command.details);
  if (longer.length > 0) parts.push('See also:\n' + columns(longer.map((each) => [usageLine(each), each.summary])));
  return parts.join('\n\n') + '\n';
}

function sentence(summary: string): string {
  return summary.charAt(0).toUpperCase() + summary.slice(1) + '.';
}

function optionLines(options: OptionSpecs): string {
  return columns(
    Object.entries(options).map(([name, spec]) => {
      const short = spec.alias === undefined ? '    ' : `-${spec.alias}, `;
      const placeholder = spec.choices?.join('|') ?? spec.value ?? 'VALUE';
      const value = {
        flag: '',
        text: ` ${placeholder}`,
        texts: ` ${placeholder}`,
        'optional-text': ` [${placeholder}]`,
      };
      const repeat = spec.kind === 'texts' ? ' (repeatable)' : '';
      return [`${short}--${name}${value[spec.kind]}`, spec.summary + repeat];
    }),
  );
}

function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(44, Math.max(...rows.map(([left]) => left.length)));
  return rows
    .map(([left, right]) =>
      left.length > width ? `  ${left}\n  ${' '.repeat(width)}  ${right}` : `  ${left.padEnd(width)}  ${right}`,
    )
    .join('\n');
}
