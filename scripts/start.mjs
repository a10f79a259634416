// `npm start`: sets up, builds, and shows the main job at work; `npm start -- --once` ends after it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { QuickStartDaemon } from './quick-start-daemon.mjs';
import { QuickStartOutput } from './quick-start-output.mjs';
import { Tour, TourEnded } from './quick-start.mjs';
import { runCommand } from './run-command.mjs';
import { setUp } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = new QuickStartOutput();

/** @param {{ once: boolean, storagePath: string }} options */
async function start({ once, storagePath }) {
  await setUp(root);
  const built = await runCommand(process.execPath, [join(root, 'scripts/build.mjs')], { cwd: root, show: true });
  if (built.status !== 0) throw new Error('the build failed');

  const scratch = mkdtempSync(join(tmpdir(), 'galleon-quickstart-'));
  // A tour that ends leaves nothing behind; otherwise the volumes stay where the reader can go on with them.
  const temporary = once && storagePath === '';
  const storage = temporary
    ? join(scratch, 'storage')
    : storagePath === ''
      ? join(root, '.galleon-quickstart')
      : storagePath;
  const logPath = temporary ? join(scratch, 'daemon.log') : `${storage}.log`;
  const daemon = new QuickStartDaemon(join(root, 'dist/main.js'), storage, logPath);
  const interrupted = interruption();
  try {
    const taken = await daemon.choosePorts();
    if (taken.length > 0) output.say(`Ports ${taken.join(', ')} are in use: the system picks others.`);
    const tour = new Tour({ root, storagePath: storage, scratch, daemon, output });
    const ended = await Promise.race([runTour(tour), interrupted]);
    output.say('');
    output.say(`${output.checks - output.failures} of ${output.checks} checks ok`);
    if (ended === 'interrupted') output.breakOff();
    else if (ended === 'completed' && once) await stop(daemon);
    else if (ended === 'completed') await stay(daemon, tour, interrupted);
  } finally {
    await daemon.end('SIGTERM');
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** @param {Tour} tour @returns {Promise<'completed' | 'broken off'>} */
async function runTour(tour) {
  try {
    await tour.run();
    return 'completed';
  } catch (thrown) {
    if (thrown instanceof TourEnded) return 'broken off';
    throw thrown;
  }
}

/** @param {QuickStartDaemon} daemon */
async function stop(daemon) {
  output.step('Stop the daemon');
  output.command('gfs daemon stop');
  const result = await daemon.gfs(['daemon', 'stop']);
  output.answer(result.stdout + result.stderr);
  const status = result.status === 0 ? await daemon.ended() : null;
  output.check(
    status === 0,
    'it stopped in order, with exit status 0',
    status === null ? daemon.logTail() : `exit status ${status}`,
  );
}

/**
 * @param {QuickStartDaemon} daemon
 * @param {Tour} tour
 * @param {Promise<'interrupted'>} interrupted
 */
async function stay(daemon, tour, interrupted) {
  const gfs = `node ${relative(process.cwd(), join(root, 'dist/main.js'))}`;
  output.say('');
  output.say('The daemon keeps running until Ctrl-C. In another terminal try:');
  if (!daemon.usesDefaultPorts) output.say(`  export GFS_DAEMON_ADDRESS=${daemon.ipcAddress}`);
  output.say(`  alias gfs='${gfs}'`);
  output.say(`  gfs volume get ${tour.volume}`);
  output.say(`  gfs volume stats ${tour.volume} --watch`);
  output.say('  gfs volume create scratch --size 1G --storage-class fast-local-ssd');
  output.say('  gfs --help');
  const why = await Promise.race([interrupted, daemon.ended()]);
  if (why === 'interrupted') output.say('Stopping the daemon.');
  else output.check(why === 0, 'the daemon was stopped', daemon.logTail());
}

/** Resolves at the first Ctrl-C or SIGTERM; a second one ends us as usual. @returns {Promise<'interrupted'>} */
function interruption() {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => resolve('interrupted'));
  });
}

try {
  const { values } = parseArgs({
    options: { once: { type: 'boolean', default: false }, 'storage-path': { type: 'string', default: '' } },
  });
  await start({ once: values.once, storagePath: values['storage-path'] });
} catch (thrown) {
  console.error(`quick start: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
  output.failures += 1;
}
// A tour that was interrupted still has a command under way: do not wait for it.
process.exit(output.failures === 0 ? 0 : 1);
