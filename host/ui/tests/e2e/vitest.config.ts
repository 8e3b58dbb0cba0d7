import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/e2e/**/*.test.ts'],
    // A line for each test, which `cargo xtask test --report` reads.
    reporters: ['verbose'],
    // One browser at a time for each backend: the machine is small.
    fileParallelism: false,
    // A deadline, with room for a machine that others use as well.
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
