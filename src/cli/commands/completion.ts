import { command, type Command } from '../command.js';
import { candidates } from '../completion.js';
import { COMPLETION_SCRIPTS, SHELLS } from '../completion-scripts.js';

export const completion = command({
  verb: ['completion'],
  summary: 'print the completion script of a shell',
  details:
    'bash:  source <(gfs completion bash)\n' +
    'zsh:   source <(gfs completion zsh)\n' +
    'fish:  gfs completion fish > ~/.config/fish/completions/gfs.fish',
  words: { shell: { summary: SHELLS.join(', '), required: true, choices: SHELLS } },
  options: {},
  run({ shell }, _options, session) {
    session.world.stdout.write(COMPLETION_SCRIPTS[shell as (typeof SHELLS)[number]]);
    return Promise.resolve(undefined);
  },
});

/** What the scripts call: `gfs __complete -- WORDS...`, the last word being the one that is typed. */
export function completeCommand(commands: readonly Command[]): Command {
  return command({
    verb: ['__complete'],
    summary: 'print candidates for a shell',
    hidden: true,
    words: { typed: { summary: 'the words typed so far', many: true } },
    options: {},
    async run({ typed }, _options, session) {
      for (const { text, summary } of await candidates(typed, commands, session)) {
        session.output.line(summary === '' ? text : `${text}\t${summary}`);
      }
    },
  });
}
