// Builds the addon with node-gyp, from the headers that came with the running Node: nothing is downloaded.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findProgram, fullPath } from './debian-packages.mjs';
import { runCommand } from './run-command.mjs';

const OUTPUT = 'build/Release/node_nbd.node';
const STAMP = 'build/galleon-stamp.json';
const TOOLS = ['python3', 'make', 'g++'];
/** What the addon includes: Node's own API and the OpenSSL that Node carries. */
const HEADERS_NEEDED = ['node_api.h', 'node_version.h', 'openssl/evp.h'];

/**
 * Rebuilds the addon if anything that it is made of changed. Throws with one line that says what to install.
 * @param {string} root
 */
export async function buildNativeAddon(root) {
  const wanted = stampOf(root);
  const stampPath = join(root, STAMP);
  const before = existsSync(stampPath) ? JSON.parse(readFileSync(stampPath, 'utf8')) : {};
  if (existsSync(join(root, OUTPUT)) && before.node === wanted.node && before.inputs === wanted.inputs) {
    console.log('build: native addon unchanged');
    return;
  }
  const missing = TOOLS.filter((tool) => findProgram(tool) === null);
  if (missing.length > 0) {
    throw new Error(`the native addon needs ${missing.join(', ')}: apt-get install ${missing.join(' ')}`);
  }
  const nodeFolder = findNodeFolder();
  console.log('build: native addon');
  // Objects of another Node version must not be linked again; otherwise make compiles only what changed.
  const verbs = before.node === wanted.node ? ['configure', 'build'] : ['rebuild'];
  for (const verb of verbs) {
    const result = await runCommand(
      process.execPath,
      [join(root, 'node_modules/node-gyp/bin/node-gyp.js'), verb, `--nodedir=${nodeFolder}`, '--jobs=max'],
      { cwd: root, env: { ...process.env, PATH: fullPath() } },
    );
    if (result.status !== 0) throw new Error(`node-gyp ${verb} failed:\n${result.stdout}${result.stderr}`);
  }
  if (!existsSync(join(root, OUTPUT))) throw new Error(`node-gyp ended well, but ${OUTPUT} is not there`);
  mkdirSync(dirname(stampPath), { recursive: true });
  writeFileSync(stampPath, JSON.stringify(wanted));
}

/** The folder whose include/node holds the headers of this very Node. */
function findNodeFolder() {
  const beside = dirname(dirname(realpathSync(process.execPath)));
  const candidates = [process.env['npm_config_nodedir'], beside, '/usr/local', '/usr'].filter(
    (folder) => folder !== undefined,
  );
  const found = candidates.find((folder) => holdsHeaders(join(folder, 'include/node')));
  if (found !== undefined) return found;
  const looked = [...new Set(candidates)].map((folder) => join(folder, 'include/node')).join(', ');
  throw new Error(
    `the headers of Node ${process.version} are not in ${looked}: install Node from a package or archive that carries ` +
      'them (nodejs.org and NodeSource do), or name its folder in npm_config_nodedir',
  );
}

/** @param {string} folder */
function holdsHeaders(folder) {
  if (!HEADERS_NEEDED.every((header) => existsSync(join(folder, header)))) return false;
  const text = readFileSync(join(folder, 'node_version.h'), 'utf8');
  const part = (/** @type {string} */ name) => new RegExp(`define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1];
  return `v${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}` === process.version;
}

/** What the addon is made of, as far as it can change. @param {string} root */
function stampOf(root) {
  const hash = createHash('sha256');
  const sources = readdirSync(join(root, 'native'), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const path of [...sources, join(root, 'binding.gyp'), join(root, 'node_modules/node-addon-api/package.json')]) {
    hash.update(path.slice(root.length)).update('\0').update(readFileSync(path)).update('\0');
  }
  for (const name of ['CC', 'CXX', 'CFLAGS', 'CXXFLAGS', 'LDFLAGS'])
    hash.update(`${name}=${process.env[name] ?? ''}\0`);
  return { node: `${process.version} ${process.arch}`, inputs: hash.digest('hex') };
}
