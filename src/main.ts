#!/usr/bin/env node
/**
 * The program `gfs`: the daemon (`gfs -d ...`) or the command line, never both in one process. Each side is loaded
 * only when it is meant, so that neither pays for the other.
 */
import process from 'node:process';

const NODE_LEAST = [20, 19] as const;

async function main(argv: string[]): Promise<number> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < NODE_LEAST[0] || (major === NODE_LEAST[0] && minor < NODE_LEAST[1])) {
    process.stderr.write(
      `gfs: needs Node ${NODE_LEAST.join('.')} or newer and this is ${process.versions.node}; install a newer Node\n`,
    );
    return 1;
  }
  if (isDaemon(argv)) {
    const { runDaemon } = await import('./daemon/main.js');
    return runDaemon(argv);
  }
  // On a stopped node, so the daemon's side; the command line explains them.
  if (argv[0] === 'key' && argv[1] === 'import-recovery' && !asksHelp(argv)) {
    const { runImportRecovery } = await import('./daemon/import-recovery.js');
    return runImportRecovery(argv.slice(2));
  }
  if (argv[0] === 'daemon' && argv[1] === 'check' && !asksHelp(argv)) {
    const { runCheck } = await import('./daemon/check-command.js');
    return runCheck(argv.slice(2));
  }
  const { runCliProcess } = await import('./cli/process-world.js');
  return runCliProcess(argv);
}

function asksHelp(argv: readonly string[]): boolean {
  return argv.some((argument) => argument === '--help' || argument === '-h');
}

/** `-d` or `--daemon`, unless the line begins with a verb: `gfs volume create -d` is a slip, not a daemon. */
function isDaemon(argv: readonly string[]): boolean {
  if (argv[0] === undefined || !argv[0].startsWith('-')) return false;
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).some((argument) => argument === '-d' || argument === '--daemon');
}

process.exit(await main(process.argv.slice(2)));
