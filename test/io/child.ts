/** Runs one of the scripts beside this file in a process of its own, so that a crash is an outcome and not the end. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface ChildOutcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runChild(
  script: URL,
  argv: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
  folder: string = process.cwd(),
): Promise<ChildOutcome> {
  const path = fileURLToPath(script);
  return new Promise((resolve, reject) => {
    // Resolved here, because the child may run in a folder that knows no packages.
    const loader = import.meta.resolve('tsx');
    const child = spawn(process.execPath, ['--import', loader, path, ...argv], {
      cwd: folder,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 50_000,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.once('error', reject);
    child.once('close', (status, signal) => {
      resolve({ status, signal, stdout, stderr });
    });
  });
}
