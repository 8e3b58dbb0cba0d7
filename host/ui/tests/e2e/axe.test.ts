import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { describe, expect } from 'vitest';
import { does, pretendActivities } from './activity.ts';
import { open, signedIn, test, untilLive } from './browser.ts';
import { create, info, removeAll } from './service.ts';

const { capabilities } = await info();

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const results = await (window as unknown as { axe: typeof axe }).axe.run({
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
    return results.violations.flatMap((violation) => violation.nodes.map((node) => `${violation.id}: ${node.html} ${node.failureSummary ?? ''}`));
  });
}

describe.each(['light', 'dark'] as const)('in the %s theme', (colorScheme) => {
  test.for([1200, 390])('every page passes, %i wide', async (width, { browser }) => {
    const look = { colorScheme, viewport: { width, height: 800 } };
    const out = await open(browser, '', look);
    await out.getByLabel('Token').waitFor();
    expect(await violations(out), 'sign-in').toEqual([]);
    await out.context().close();

    const none = await signedIn(browser, '', look);
    await none.getByText('No agents yet').or(none.locator('.rows')).first().waitFor();
    expect(await violations(none), 'no agents').toEqual([]);
    await none.context().close();

    const running = await create({ labels: { team: 'a', note: 'two words' }, command: ['sh', '-c', 'echo hello; read line'], env: { A: 'b' } });
    const failed = await create({ command: ['sh', '-c', 'exit 3'] });
    const page = await signedIn(browser, '', { ...look, prepare: pretendActivities });
    await does(page, running, 'waiting', { reason: 'asks a question', seconds: 90 });
    await page.getByRole('group', { name: `Keys for ${running.name}` }).waitFor();
    await page.locator('li.agent').filter({ hasText: failed.name }).getByText('Failed').waitFor();
    expect(await violations(page), 'agents').toEqual([]);

    await page.getByRole('button', { name: 'New agent' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.locator('form[aria-busy=false]').waitFor();
    for (const options of await dialog.locator('details.options summary').all()) await options.click();
    await dialog.getByRole('button', { name: 'Add a variable' }).click();
    await dialog.getByRole('button', { name: 'Create' }).click();
    await dialog.getByText('Letters, digits').waitFor();
    // The whole of it: where it scrolls, some button is cut off at its edge.
    await page.setViewportSize({ width, height: 3000 });
    expect(await violations(page), 'create').toEqual([]);
    await page.setViewportSize(look.viewport);
    await page.keyboard.press('Escape');

    await page.getByRole('checkbox', { name: `Choose ${running.name}`, exact: true }).check();
    await page.getByRole('region', { name: 'Chosen agents' }).waitFor();
    expect(await violations(page), 'chosen').toEqual([]);
    await page.getByRole('button', { name: 'Choose none' }).click();
    await page.getByRole('button', { name: 'Go to…' }).click();
    await dialog.getByRole('option', { name: failed.name }).waitFor();
    expect(await violations(page), 'palette').toEqual([]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('/');
    await dialog.getByRole('searchbox').fill('hello');
    await dialog.getByRole('listitem').first().waitFor();
    expect(await violations(page), 'search').toEqual([]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await dialog.getByRole('heading', { name: 'Keys' }).waitFor();
    expect(await violations(page), 'keys').toEqual([]);
    await page.keyboard.press('Escape');

    await page.evaluate((to) => (location.hash = to), `#/agents/${failed.id}/details`);
    await page.getByRole('button', { name: `Delete ${failed.name}` }).click();
    await dialog.getByRole('heading', { name: 'Delete' }).waitFor();
    expect(await violations(page), 'question').toEqual([]);
    await page.keyboard.press('Escape');

    for (const tab of ['logs', 'changes', 'details', ...(capabilities.includes('terminal') ? ['terminal'] : [])]) {
      await page.evaluate((to) => (location.hash = to), `#/agents/${running.id}/${tab}`);
      await page.locator(`#panel-${tab}`).waitFor();
      if (tab === 'logs') await page.locator('.line').filter({ hasText: 'hello' }).waitFor();
      if (tab === 'changes') await page.locator('.changes[aria-busy=false]').waitFor();
      if (tab === 'terminal') await untilLive(page);
      if (tab === 'terminal') await page.getByRole('button', { name: 'Search' }).click();
      if (tab === 'terminal') await page.getByRole('searchbox').waitFor();
      expect(await violations(page), tab).toEqual([]);
    }
    if (capabilities.includes('terminal')) {
      await page.evaluate((to) => (location.hash = to), `#/agents/${failed.id}/terminal`);
      await page.locator('.exit-bar').waitFor();
      expect(await violations(page), 'exit').toEqual([]);
      await page.evaluate(() => (location.hash = '#/grid'));
      await page.locator('.tile .xterm').first().waitFor();
      expect(await violations(page), 'grid').toEqual([]);
    }
    await page.context().close();
    await removeAll();
  });
});
