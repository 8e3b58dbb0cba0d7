/** Pictures of every page, to be looked at: in both themes, and on a phone. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { beforeAll, describe } from 'vitest';
import { does, pretendActivities } from './activity.ts';
import { open, signedIn, test, type, untilLive, untilShows } from './browser.ts';
import { agent, create, info, removeAll, until } from './service.ts';

const { capabilities, backend_type: backend } = await info();
const folder = process.env.AGENTD_E2E_SHOTS ?? fileURLToPath(new URL('../../shots/', import.meta.url));
const terminals = capabilities.includes('terminal');

beforeAll(() => void mkdirSync(folder, { recursive: true }));

describe.each(['light', 'dark'] as const)('%s', (colorScheme) => {
  test.for([
    ['desk', { viewport: { width: 1280, height: 800 } }],
    ['phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
  ] as const)('%s', async ([device, size], { browser }) => {
    const look = { colorScheme, ...size };
    const picture = (page: Page, name: string) => page.screenshot({ path: `${folder}/${backend}-${name}-${device}-${colorScheme}.png` });

    const out = await open(browser, '', look);
    await out.getByLabel('Token').waitFor();
    await picture(out, 'signin');
    await out.context().close();

    await removeAll();
    const page = await signedIn(browser, '', { ...look, prepare: pretendActivities });
    await page.getByText('No agents yet').or(page.locator('.rows')).first().waitFor();
    await picture(page, 'empty');

    const shell = await create({ name: 'shell', command: ['bash', '--norc', '--noprofile'], env: { API_KEY: 'hidden' } });
    const worker = await create({ name: 'builder', labels: { team: 'search' }, command: ['sh', '-c', 'i=0; while sleep 0.3; do i=$((i+1)); echo "step $i of the build"; done'] });
    const asks = await create({ name: 'reviewer', labels: { team: 'search', urgent: '' }, command: ['sh', '-c', 'echo "Do you want to make this edit to index.ts?"; echo "1. Yes  2. No, and tell it what to do differently"; read line'] });
    const failed = await create({ name: 'migration', command: ['sh', '-c', 'echo "error: no such file" >&2; exit 3'] });
    const stopped = await create({ name: 'changelog', command: ['sh', '-c', 'echo all done'] });
    await until('the ends', async () => (await agent(failed.id)).status === 'failed' && (await agent(stopped.id)).status === 'stopped');
    await page.getByText('step 3').or(page.getByText(/step \d+ of/)).first().waitFor();
    await page.getByText('no such file').first().waitFor();
    const act = async () => {
      await does(page, asks, 'waiting', { reason: 'asks for permission to edit', seconds: 200 });
      await does(page, worker, 'working', { title: 'Build the index', seconds: 75 });
      await does(page, shell, 'idle', { seconds: 4000 });
    };
    await act();
    await picture(page, 'agents');
    await page.getByRole('checkbox', { name: 'Choose builder' }).check();
    await page.getByRole('checkbox', { name: 'Choose reviewer' }).check();
    await picture(page, 'chosen');
    await page.getByRole('button', { name: 'Choose none' }).click();
    await page.getByRole('button', { name: 'Go to…' }).click();
    await picture(page, 'palette');
    await page.keyboard.press('Escape');

    await page.getByRole('button', { name: 'New agent' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('writer');
    await dialog.getByLabel('Directory').fill('/home/you/project');
    await dialog.getByRole('button', { name: 'Add a variable' }).click();
    await dialog.locator('form[aria-busy=false]').waitFor();
    for (const options of await dialog.locator('summary').all()) await options.click();
    await picture(page, 'create');
    await page.keyboard.press('Escape');
    const show = (path: string) => page.evaluate((to) => (location.hash = to), path);
    if (terminals) {
      await show(`#/agents/${shell.id}`);
      await untilLive(page);
      await page.locator('.screen textarea').focus();
      await type(page, 'clear; ls -la --color=always /usr /etc | head -40; for i in 1 2 3 4 5 6 7; do printf "\\e[3${i}m colour $i \\e[9${i}m bright \\e[0m"; done; echo; echo "grüße 日本語"');
      await untilShows(page, 'grüße 日本語');
      await picture(page, 'terminal');
      await page.getByRole('button', { name: 'Search' }).click();
      await page.getByRole('searchbox').fill('root');
      await page.getByText(/\d of \d/).first().waitFor();
      await picture(page, 'find');
      await show(`#/agents/${failed.id}`);
      await page.locator('.exit-bar').waitFor();
      await picture(page, 'exit');
      await show('#/grid');
      await page.getByText(/step \d+ of/).first().waitFor();
      await picture(page, 'grid');
    }
    await show(`#/agents/${asks.id}`);
    await page.getByRole('button', { name: `Delete ${asks.name}` }).click();
    await picture(page, 'question');
    await page.keyboard.press('Escape');
    await page.getByRole('textbox', { name: 'Prompt for' }).fill('Fix the test.\nThen say what was wrong with it.');
    await picture(page, 'prompt');
    await show(`#/agents/${worker.id}/logs`);
    await page.locator('.line').nth(2).waitFor();
    await picture(page, 'logs');
    await show(`#/agents/${shell.id}/details`);
    await page.getByText('What runs').waitFor();
    await picture(page, 'details');
    await page.context().close();
  });
});
