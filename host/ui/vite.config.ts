import { defineConfig } from 'vite';

/** Where `npm run dev` finds a service to talk to. */
const service = process.env.AGENTD_ORCHESTRATOR_SERVICE_URL ?? 'http://127.0.0.1:17006';

export default defineConfig({
  build: {
    target: 'es2022',
    // Nothing inline: the Content-Security-Policy allows files of this origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // The notices that the licences of what is bundled ask for.
    license: { fileName: 'licenses.md' },
  },
  server: {
    proxy: Object.fromEntries(
      ['/agents', '/backend', '/events', '/health', '/info', '/login', '/logout', '/tickets'].map((path) => [
        path,
        // The service allows its own origin only, so the development server speaks as that one.
        { target: service, changeOrigin: true, ws: true, headers: { origin: service } },
      ]),
    ),
  },
  test: { include: ['tests/unit/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
