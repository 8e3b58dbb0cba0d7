import { describe, expect } from 'vitest';
import { complaintsOf, signedIn, test, type, untilLive, untilShows } from './browser.ts';
import { create, URL_BASE } from './service.ts';

describe.runIf(URL_BASE.startsWith('https:'))('by TLS', () => {
  test('a terminal takes keys, and the cookie goes nowhere without TLS', async ({ browser }) => {
    const made = await create({ command: ['bash', '--norc', '--noprofile'], env: { PS1: '$ ', HISTFILE: '/dev/null' } });
    const page = await signedIn(browser);
    const opened = page.waitForEvent('websocket');
    await page.goto(`${URL_BASE}/#/agents/${made.id}/terminal`);
    expect((await opened).url()).toMatch(/^wss:/);
    await untilLive(page);
    await page.locator('.screen textarea').focus();
    await type(page, 'echo $((6 * 7)) by TLS');
    await untilShows(page, '42 by TLS');

    const cookies = await page.context().cookies();
    expect(cookies.map((cookie) => cookie.secure)).toEqual([true]);
    expect(complaintsOf(page)).toEqual([]);
    await page.context().close();
  });
});
