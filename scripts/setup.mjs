// `node scripts/setup.mjs`: installs what building and testing need. Imports nothing from node_modules: on a fresh clone
// there is none.
import { fileURLToPath } from 'node:url';
import { installDebianPackages } from './debian-packages.mjs';
import { installNodeModules } from './node-modules.mjs';

const NODE_VERSION_MIN = [20, 19];

/** @param {string} root */
export async function setUp(root) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NODE_VERSION_MIN[0] || (major === NODE_VERSION_MIN[0] && minor < NODE_VERSION_MIN[1])) {
    throw new Error(`Node ${NODE_VERSION_MIN.join('.')} or newer is needed, this is ${process.version}`);
  }
  // The compiler first: npm may want to build something that has no prebuilt binary for this machine.
  await installDebianPackages();
  await installNodeModules(root);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await setUp(fileURLToPath(new URL('..', import.meta.url)));
    console.log('setup: done');
  } catch (thrown) {
    console.error(`setup: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    process.exitCode = 1;
  }
}
