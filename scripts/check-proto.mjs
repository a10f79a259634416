// Whether the generated code is what the proto file gives: generates it again, elsewhere, and compares. No network.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './run-command.mjs';

const GENERATED = 'src/ipc/generated';

/**
 * Names of generated files that are stale, missing or orphaned, one line each.
 * @param {string} root
 * @returns {Promise<string[]>}
 */
export async function checkProto(root) {
  const folder = mkdtempSync(join(tmpdir(), 'galleon-proto-'));
  try {
    const tools = join(root, 'node_modules/.bin');
    const result = await runCommand(
      join(tools, 'buf'),
      ['generate', '--template', 'src/ipc/buf.gen.yaml', '--output', folder],
      { cwd: root, env: { ...process.env, PATH: `${tools}${delimiter}${process.env['PATH'] ?? ''}` } },
    );
    if (result.status !== 0) return [`buf generate failed: ${result.stderr.trim()}`];
    const fresh = filesIn(join(folder, GENERATED));
    const kept = filesIn(join(root, GENERATED));
    if (fresh.size === 0) return ['buf generate made no file'];
    const names = [...new Set([...fresh.keys(), ...kept.keys()])].sort();
    return names
      .filter((name) => fresh.get(name) !== kept.get(name))
      .map((name) => `${GENERATED}/${name} differs from what control.proto gives: npm run proto`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} folder @returns {Map<string, string>} */
function filesIn(folder) {
  const files = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [relative(folder, path), readFileSync(path, 'utf8')];
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = await checkProto(process.cwd());
  for (const problem of problems) console.error(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
