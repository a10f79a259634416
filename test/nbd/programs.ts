import { execFile, spawnSync } from 'node:child_process';

/** Why `name` cannot be run here, '' when it can. */
export function missing(name: string, args: readonly string[] = ['--version']): string {
  const ran = spawnSync(name, args, { stdio: 'ignore', timeout: 20_000 });
  return ran.error === undefined && ran.status === 0 ? '' : `${name} is missing`;
}

/** Runs a program to its end; the server under test goes on meanwhile. Throws with its output if it fails. */
export function run(name: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      name,
      args,
      { timeout: 50_000, maxBuffer: 64 << 20, env: { ...process.env, ...environment } },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${name} ${args.join(' ')}: ${error.message}\n${stdout}\n${stderr}`));
      },
    );
  });
}

/** Says that something was not tested, and why. */
export function sayAloud(what: string): void {
  console.log(`SKIPPED: ${what}`);
}
