import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { CommandKeyProvider } from '../../src/crypto/command-key-provider.js';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { temporaryFolder } from '../base/temporary-folder.js';

const DATA_KEY = Uint8Array.from({ length: 32 }, (_, index) => 255 - index);

async function script(
  body: string,
  timeoutMs = 20_000,
  args: string[] = [],
): Promise<{ provider: CommandKeyProvider; folder: string }> {
  const folder = await temporaryFolder();
  const path = join(folder, 'key program');
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o700);
  const environment = { PATH: process.env.PATH, FOLDER: folder };
  const provider = new CommandKeyProvider(
    { argv: [path, ...args], timeoutMs },
    { clock: new SystemClock(), environment },
  );
  onTestFinished(() => provider.close());
  return { provider, folder };
}

function failureOf(promise: Promise<unknown>): Promise<CryptoError> {
  return promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (thrown: unknown) => {
      if (thrown instanceof CryptoError) return thrown;
      throw thrown;
    },
  );
}

describe('the command provider', () => {
  it('wraps and unwraps through a shell script, over base64 lines', async () => {
    const { provider } = await script(
      `case "$1:$2" in
      a\\ b:wrap) read -r line; printf 'wrapped:%s' "$line" | base64 -w 20;;
      a\\ b:unwrap) base64 -d | cut -d: -f2;;
      *) exit 9;;
    esac`,
      20_000,
      ['a b'],
    );
    const wrapped = await provider.wrap(DATA_KEY);
    expect(new TextDecoder().decode(wrapped)).toBe(`wrapped:${Buffer.from(DATA_KEY).toString('base64')}`);
    expect(await provider.unwrap(wrapped)).toEqual(DATA_KEY);
  });

  it('says how a program failed, in its own words', async () => {
    const { provider } = await script('echo "no such slot" >&2; exit 4');
    const failure = await failureOf(provider.wrap(DATA_KEY));
    expect(failure.fault).toMatchObject({ code: 'COMMAND_FAILED', exitStatus: 4 });
    expect(failure.message).toMatch(/key program.*\(wrap\) ended with status 4: no such slot/);
  });

  it.each([
    ['prints something else', 'echo "not base64!"', /did not print base64/],
    ['prints nothing', 'cat > /dev/null', /gave 0 bytes/],
    ['is killed', 'kill -TERM $$', /ended by SIGTERM/],
    ['never stops printing', 'yes', /printed too much/],
  ])('refuses a program that %s', async (_, body, message) => {
    const { provider } = await script(body);
    expect((await failureOf(provider.unwrap(DATA_KEY))).message).toMatch(message);
  });

  it('refuses a key of the wrong length', async () => {
    const { provider } = await script('head -c 31 /dev/zero | base64');
    expect((await failureOf(provider.unwrap(DATA_KEY))).message).toMatch(/gave 31 bytes; 32 are expected/);
  });

  it('ends a program that hangs, and its children', async () => {
    const { provider, folder } = await script('sleep 300 & echo $! > "$FOLDER/child"; wait', 700);
    expect((await failureOf(provider.wrap(DATA_KEY))).message).toMatch(/took longer than 700 ms/);
    const child = (await readFile(join(folder, 'child'), 'utf8')).trim();
    // 'close' came, so the child's end of the pipe is shut; its entry may stay until its new parent has reaped it.
    const state = await readFile(`/proc/${child}/stat`, 'utf8').then(
      (stat) => stat.split(') ')[1]?.[0],
      () => 'gone',
    );
    expect(['gone', 'Z', 'X']).toContain(state);
  });

  it('says so when there is no program', async () => {
    const dependencies = { clock: new SystemClock(), environment: {} };
    const provider = new CommandKeyProvider({ argv: ['/nowhere/key-program'] }, dependencies);
    const failure = await failureOf(provider.wrap(DATA_KEY));
    expect(failure.fault).toMatchObject({ code: 'COMMAND_FAILED', exitStatus: null });
    expect(failure.message).toMatch(/could not be started \(spawn \/nowhere\/key-program ENOENT\)/);
    expect(() => new CommandKeyProvider({ argv: [] }, dependencies)).toThrow(
      expect.objectContaining({ fault: { code: 'OPTIONS', option: 'argv' } }),
    );
  });

  it('runs one call at a time', async () => {
    const { provider } = await script(
      'mkdir "$FOLDER/busy" || exit 8; read -r line; sleep 0.05; rmdir "$FOLDER/busy"; echo "$line"',
    );
    const all = await Promise.all(Array.from({ length: 4 }, () => provider.unwrap(DATA_KEY)));
    expect(all).toEqual(Array.from({ length: 4 }, () => DATA_KEY));
  });

  it('keeps its arguments out of its description', async () => {
    const { provider } = await script('true', 1000, ['--pin=1234']);
    expect(provider.describe()).not.toContain('1234');
  });
});
