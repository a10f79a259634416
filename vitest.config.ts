import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Native code and LMDB environments belong to a process each: a crash names its file instead of taking all along.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A forgotten `.only` would silently leave the rest out.
    allowOnly: false,
    passWithNoTests: false,
  },
});
