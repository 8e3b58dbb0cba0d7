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

/** The tab's icon with how many agents wait: the page may show no picture that is made while it runs. */
const countedIcons: Plugin = {
  name: 'counted-icons',
  generateBundle() {
    const icon = readFileSync(new URL('public/favicon.svg', import.meta.url), 'utf8');
    for (let count = 1; count <= 9; count += 1) {
      const badge =
        '<circle cx="22" cy="10" r="10" fill="#f0b64c"/>' +
        `<text x="22" y="15.5" font-family="sans-serif" font-size="16" font-weight="700" text-anchor="middle" fill="#1c2329">${count}</text>`;
      this.emitFile({ type: 'asset', fileName: `favicon-${count}.svg`, source: icon.replace('</svg>', `${badge}</svg>`) });
    }
  },
};

export default defineConfig({
  plugins: [fontLicenses, countedIcons],
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
      ['/agents', '/backend', '/events', '/health', '/info', '/login', '/logout', '/tickets', '/whoami'].map((path) => [
        path,
        // The service allows its own origin only, so the development server speaks as that one.
        { target: service, changeOrigin: true, ws: true, headers: { origin: service } },
      ]),
    ),
  },
  test: { include: ['tests/unit/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
