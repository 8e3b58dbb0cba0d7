// Node 20 does not read TypeScript; Vite does.
import { runnerImport } from 'vite';

await runnerImport('./tests/mock/server.ts');
