/** Pages that are not the service's, in a browser that is signed in. */
import { createServer, type Server } from 'node:http';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launch, signedIn } from './browser.ts';
import { call, create, info, removeAll, until, URL_BASE } from './service.ts';

const { capabilities } = await info();
const { hostname, port } = new URL(URL_BASE);

describe.runIf(capabilities.includes('terminal'))('a foreign page', () => {
  let browser: Browser;
  let server: Server;
  let foreignPort: number;

  beforeAll(async () => {
    // The name that somebody else owns, and may have lead anywhere.
    browser = await launch(['--host-resolver-rules=MAP evil.example 127.0.0.1']);
    server = createServer((request, response) => {
      const sandbox = request.url === '/null' ? { 'Content-Security-Policy': 'sandbox allow-scripts allow-forms' } : {};
      response.writeHead(200, { 'Content-Type': 'text/html', ...sandbox }).end('<title>foreign</title><iframe name="sink"></iframe>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    foreignPort = typeof address === 'object' && address ? address.port : 0;
  });
  afterAll(async () => {
    await removeAll();
    await browser.close();
    server.close();
  });

  /** A foreign page in the browser of somebody who is signed in, and what they have that it could steal. */
  async function visit(url: string): Promise<{ own: Page; foreign: Page; key: string; ticket: string; id: string }> {
    const { id } = await create({ command: ['sh', '-c', 'while read -r line; do echo "got <$line>"; done'] });
    const own = await signedIn(browser);
    const stolen = await own.evaluate(async () => {
      const key = localStorage.getItem('agentd-key') ?? '';
      const made = await fetch('/tickets', { method: 'POST', headers: { 'Agentd-Key': key } });
      return { key, ticket: ((await made.json()) as { ticket: string }).ticket };
    });
    const foreign = await own.context().newPage();
    await foreign.goto(url);
    return { own, foreign, id, ...stolen };
  }

  /** Everything that a page can do to another origin. Gives what it could read. */
  async function attack(foreign: Page, base: string, key: string, ticket: string, id: string): Promise<string[]> {
    return foreign.evaluate(
      async ({ base, key, ticket, id }) => {
        const got: string[] = [];
        const json = { 'Content-Type': 'application/json' };
        const input = JSON.stringify({ text: 'from the foreign page' });
        const tries: [string, RequestInit][] = [
          ['/agents', {}],
          ['/agents', { headers: { 'Agentd-Key': key } }],
          [`/agents/${id}/logs`, { headers: { 'Agentd-Key': key } }],
          ['/info', {}],
          ['/health', {}],
          ['/tickets', { method: 'POST', headers: { 'Agentd-Key': key } }],
          ['/login/codes', { method: 'POST', headers: { 'Agentd-Key': key } }],
          ['/login', { method: 'POST', headers: json, body: '{}' }],
          [`/agents/${id}/input`, { method: 'POST', headers: { ...json, 'Agentd-Key': key }, body: input }],
        ];
        const deletion: typeof tries = [[`/agents/${id}`, { method: 'DELETE', headers: { 'Agentd-Key': key } }]];
        const send = async (tries: [string, RequestInit][]) => {
          for (const [path, options] of tries) {
            for (const mode of ['cors', 'no-cors'] as const) {
              const answer = await fetch(base + path, { ...options, mode, credentials: 'include' }).catch(() => null);
              const text = await answer?.text().catch(() => '');
              if (answer?.ok || text) got.push(`${mode} ${path}: ${answer?.status} ${text}`);
            }
          }
        };
        await send(tries);
        navigator.sendBeacon(`${base}/agents/${id}/input`, new Blob([input], { type: 'text/plain' }));
        const socket = (query: string) =>
          new Promise<string>((resolve) => {
            const opened = new WebSocket(`${base.replace('http', 'ws')}/agents/${id}/terminal${query}`);
            opened.onopen = () => {
              opened.send(new TextEncoder().encode('from the foreign page\r'));
              resolve('open');
            };
            opened.onerror = () => resolve('refused');
          });
        for (const query of ['', `?ticket=${ticket}`, '?mode=ro']) {
          if ((await socket(query)) === 'open') got.push(`socket ${query}`);
        }
        const events = await new Promise<string>((resolve) => {
          const source = new EventSource(`${base}/events`, { withCredentials: true });
          const ended = (how: string) => {
            // It would try again for ever.
            source.close();
            resolve(how);
          };
          source.onopen = () => ended('open');
          source.onerror = () => ended('refused');
        });
        if (events === 'open') got.push('events');
        const script = await new Promise<string>((resolve) => {
          const element = document.createElement('script');
          element.src = `${base}/agents`;
          element.onload = () => resolve('loaded');
          element.onerror = () => resolve('refused');
          document.body.append(element);
        });
        if (script === 'loaded') got.push('script');
        await send(deletion);
        return got;
      },
      { base, key, ticket, id },
    );
  }

  /** A form needs no leave of the other origin. */
  async function submit(foreign: Page, base: string, id: string): Promise<void> {
    const sent = foreign.waitForResponse((response) => response.url().includes(`/agents/${id}/input`));
    await foreign.evaluate(
      ({ action }) => {
        const form = document.createElement('form');
        Object.assign(form, { method: 'POST', action, enctype: 'text/plain', target: 'sink' });
        const field = document.createElement('input');
        Object.assign(field, { name: '{"text":"from the foreign page","x":"', value: '"}' });
        form.append(field);
        document.body.append(form);
        form.submit();
      },
      { action: `${base}/agents/${id}/input` },
    );
    expect((await sent).status()).toBeGreaterThanOrEqual(400);
  }

  /** The agent is there, and nothing was typed into it. */
  async function untouched(id: string): Promise<void> {
    expect((await call('POST', `/agents/${id}/input`, { text: 'from its person' })).status).toBe(202);
    const log = await until('what was typed', async () => {
      const text = await (await call('GET', `/agents/${id}/logs`)).text();
      return text.includes('got <from its person>') && text;
    });
    expect(log).not.toContain('foreign page');
  }

  test('does what works in the own page', async () => {
    const { own, key, ticket, id } = await visit(`http://${hostname}:${foreignPort}/`);
    const got = (await attack(own, URL_BASE, key, ticket, id)).join('\n');
    for (const done of [`cors /agents/${id}/input: 202`, `socket ?ticket=${ticket}`, `cors /agents/${id}: 204`]) expect(got).toContain(done);
    await own.context().close();
  });

  /** Attack: a page of `http://evil.example` fetches, posts, sends forms and beacons, includes scripts, and opens WebSockets and events, with the cookie, a stolen key and a stolen ticket. Then: it reads nothing, and nothing is typed. */
  test('of another site gets nothing and does nothing', async () => {
    const { own, foreign, key, ticket, id } = await visit(`http://evil.example:${foreignPort}/`);
    expect(await foreign.evaluate(() => location.origin)).toBe(`http://evil.example:${foreignPort}`);
    expect(await attack(foreign, URL_BASE, key, ticket, id)).toEqual([]);
    await submit(foreign, URL_BASE, id);
    await untouched(id);
    await own.context().close();
  });

  /** Attack: the same by a page of another port of `localhost`, to which the browser's cookies go as well. Then: it reads nothing, and nothing is typed. */
  test('of another port gets nothing and does nothing', async () => {
    const { own, foreign, key, ticket, id } = await visit(`http://${hostname}:${foreignPort}/`);
    expect(await attack(foreign, URL_BASE, key, ticket, id)).toEqual([]);
    await submit(foreign, URL_BASE, id);
    await untouched(id);
    await own.context().close();
  });

  /** Attack: the same by a page without an origin (`null`), as a sandboxed frame or a file is one. Then: it reads nothing, and nothing is typed. */
  test('without an origin gets nothing and does nothing', async () => {
    const { own, foreign, key, ticket, id } = await visit(`http://${hostname}:${foreignPort}/null`);
    expect(await foreign.evaluate(() => self.origin)).toBe('null');
    expect(await attack(foreign, URL_BASE, key, ticket, id)).toEqual([]);
    await submit(foreign, URL_BASE, id);
    await untouched(id);
    await own.context().close();
  });

  /** Attack: the name `evil.example` leads to the service itself, so that its page is of one origin with it (DNS rebinding). Then: the page is not shown, and what asks by that name gets 403. */
  test('whose name leads to the service gets nothing', async () => {
    const { own, foreign, key, ticket, id } = await visit(`http://evil.example:${foreignPort}/`);
    const rebound = `http://evil.example:${port}`;
    const answer = await foreign.goto(`${rebound}/`);
    expect(answer?.status()).toBe(403);
    const statuses = await foreign.evaluate(
      async ({ key, id }) => {
        const headers = { 'Agentd-Key': key };
        const paths = ['/info', '/agents', `/agents/${id}`, '/tickets', '/'];
        return Promise.all(paths.map(async (path) => (await fetch(path, { headers })).status));
      },
      { key, id },
    );
    expect(statuses).toEqual([403, 403, 403, 403, 403]);
    const socket = await foreign.evaluate(
      (path) =>
        new Promise<string>((resolve) => {
          const opened = new WebSocket(path);
          opened.onopen = () => resolve('open');
          opened.onerror = () => resolve('refused');
        }),
      `${rebound.replace('http', 'ws')}/agents/${id}/terminal?ticket=${ticket}`,
    );
    expect(socket).toBe('refused');
    await untouched(id);
    await own.context().close();
  });

  /** Attack: a page of another site shows the service in a frame, to have the person click there. Then: the browser does not show it. */
  test('shows the service in no frame', async () => {
    const { own, foreign } = await visit(`http://evil.example:${foreignPort}/`);
    const refused = foreign.waitForEvent('console', (message) => /frame|X-Frame-Options/i.test(message.text()));
    await foreign.evaluate((base) => {
      const frame = document.createElement('iframe');
      frame.src = `${base}/`;
      document.body.append(frame);
    }, URL_BASE);
    await refused;
    for (const frame of foreign.frames().slice(1)) {
      expect(await frame.locator('input, nav, button').count()).toBe(0);
    }
    await own.context().close();
  });
});
