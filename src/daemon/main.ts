/** The daemon's process: arguments, signals, the service manager, and one node. */
import { readFile } from 'node:fs/promises';
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { messageOf, stackOf } from '../base/errors.js';
import { CloseStack } from '../base/lifecycle.js';
import { programVersion } from '../base/program-version.js';
import { SystemClock, SystemRandom } from '../base/system-clock.js';
import { NativeChecksums } from '../io/native-checksums.js';
import { NativeFiles } from '../io/native-files.js';
import { NativeBlockKeys } from '../io/native-keys.js';
import { notifySystemd } from '../io/systemd-notify.js';
import { registerDaemon, registryPlace } from '../ipc/daemon-registry.js';
import {
  type Configuration,
  type ConfigurationSources,
  helpText,
  readConfiguration,
  shownEntries,
} from './configuration.js';
import { DaemonError } from './daemon-error.js';
import { Node } from './node.js';
import { ProcessLog } from './process-log.js';
import { ProcessSignals } from './process-signals.js';

/** Runs one node until it is asked to stop. Resolves to the exit status: 0 stopped, 1 failed, 2 wrong configuration. */
export async function runDaemon(argv: string[]): Promise<number> {
  const sources: ConfigurationSources = {
    argv,
    environment: process.env,
    workingFolder: process.cwd(),
    readFile: (path) => readFile(path, 'utf8'),
  };
  let configuration: Configuration;
  try {
    const parsed = await readConfiguration(sources);
    if (parsed.kind !== 'run') {
      process.stdout.write(parsed.kind === 'help' ? helpText() : `${programVersion()}\n`);
      return 0;
    }
    configuration = parsed.configuration;
  } catch (thrown) {
    return complain(thrown);
  }
  return runNode(configuration, sources);
}

async function runNode(configuration: Configuration, sources: ConfigurationSources): Promise<number> {
  // Whatever the daemon makes is for its own user.
  process.umask(0o077);
  // gRPC writes lines of its own to stderr; what matters of them reaches us as errors.
  setLogVerbosity(logVerbosity.NONE);
  // Whoever reads the log may go away; the node serves on.
  process.stdout.on('error', () => undefined);
  const log = new ProcessLog({ level: configuration.logLevel }, process.stdout);
  const signals = new ProcessSignals(process, log);
  try {
    for (const line of configuration.withoutEffect) log.warn({}, `daemon: ${line}`);
    const node = await startNode(configuration, log, signals);
    signals.onReload(() => reload(node, sources, log));
    return await serve(node, log, signals);
  } catch (thrown) {
    // A refusal is one line, and stderr has it; a surprise is worth its stack.
    if (!(thrown instanceof DaemonError)) log.error({ error: stackOf(thrown) }, 'daemon: it failed unexpectedly');
    return complain(thrown);
  } finally {
    signals.close();
  }
}

function startNode(configuration: Configuration, log: ProcessLog, signals: ProcessSignals): Promise<Node> {
  return Node.start(configuration.settings, {
    files: new NativeFiles(),
    keys: new NativeBlockKeys(),
    checksums: new NativeChecksums(),
    clock: new SystemClock(),
    random: new SystemRandom(),
    log,
    environment: process.env,
    pid: process.pid,
    version: programVersion(),
    configValues: () => shownEntries(configuration),
    stopWanted: (reason) => {
      signals.stop(reason);
    },
  });
}

/** Makes a node known, waits until it is asked to stop, and stops it. */
async function serve(node: Node, log: ProcessLog, signals: ProcessSignals): Promise<number> {
  const closing = new CloseStack();
  closing.push(node);
  try {
    await register(node, closing, log);
    log.info({ ...node.addresses, storagePath: node.storagePath }, 'daemon: ready');
    notifySystemd('READY=1', process.env['NOTIFY_SOCKET']);
    const reason = await signals.stopping;
    log.info({ reason }, 'daemon: stopping');
    notifySystemd('STOPPING=1', process.env['NOTIFY_SOCKET']);
  } finally {
    await closing.close();
  }
  log.info({}, 'daemon: stopped');
  return 0;
}

/** The command line finds registered daemons by itself; without the entry it has to be told the address. */
async function register(node: Node, closing: CloseStack, log: ProcessLog): Promise<void> {
  const { ipc: ipcAddress } = node.addresses;
  const { tokenFile, storagePath, startedAtMs } = node;
  try {
    const entry = { pid: process.pid, startedAtMs, ipcAddress, tokenFile, storagePath };
    closing.push(await registerDaemon(entry, registryPlace(process.env)));
  } catch (thrown) {
    log.warn(
      { error: messageOf(thrown) },
      'daemon: `gfs` does not find this daemon by itself; give it --daemon-address and --token-file',
    );
  }
}

/** SIGHUP: log level and TLS files. What cannot be read leaves everything as it is. */
async function reload(node: Node, sources: ConfigurationSources, log: ProcessLog): Promise<void> {
  try {
    const parsed = await readConfiguration(sources);
    if (parsed.kind !== 'run') return;
    const { logLevel } = parsed.configuration;
    await node.reloadTls();
    // Whoever sent the signal looks for an answer, whatever the levels before and after.
    log.setLevel('info');
    log.info({ logLevel }, 'daemon: log level and TLS files were read again');
    log.setLevel(logLevel);
  } catch (thrown) {
    log.error({ error: messageOf(thrown) }, 'daemon: the reload failed; everything stays as it was');
  }
}

/** One line for whoever started it. */
function complain(thrown: unknown): number {
  process.stderr.write(`gfs: ${messageOf(thrown).replaceAll(/\s*\n\s*/g, ' ')}\n`);
  return thrown instanceof DaemonError && thrown.code === 'CONFIG' ? 2 : 1;
}
