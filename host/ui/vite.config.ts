import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

/** Where `npm run dev` finds a service to talk to. */
const service = process.env.AGENTD_ORCHESTRATOR_SERVICE_URL ?? 'http://127.0.0.1:17006';

/** Vite lists the licences of scripts; this adds those of the fonts. */
const fontLicenses: Plugin = {
  name: 'font-licenses',
  generateBundle: {
    order: 'post',
    handler(_, bundle) {
      const licenses = bundle['licenses.md'];
      if (licenses?.type !== 'asset') throw new Error('licenses.md is not among what was built');
      for (const [font, copyright] of [
        ['cascadia-mono', 'Copyright (c) 2021 Microsoft Corporation'],
        ['fira-code', 'Copyright (c) 2014 The Fira Code Project Authors'],
      ]) {
        const folder = new URL(`node_modules/@fontsource/${font}/`, import.meta.url);
        const { version } = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as { version: string };
        const text = readFileSync(new URL('LICENSE', folder), 'utf8');
        licenses.source = `${licenses.source}\n## @fontsource/${font} - ${version} (OFL-1.1)\n\n${copyright}\n\n${text}`;
      }
    },
  },
};

export default defineConfig({
  plugins: [fontLicenses],
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
