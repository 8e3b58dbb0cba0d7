import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { signedIn, test, untilCopied } from './browser.ts';
import { call, create, info, until } from './service.ts';

let page: Page;
const { capabilities } = await info();

test('log lines are shown and followed, and can be searched, copied and saved', async ({ browser }) => {
  const made = await create({ command: ['sh', '-c', 'for i in 1 2 3; do echo line $i; done; while sleep 0.2; do i=$((i+1)); echo later $i; done'] });
  page = await signedIn(browser, `#/agents/${made.id}/logs`);
  const lines = page.locator('.line');
  await lines.filter({ hasText: 'line 3' }).waitFor();
  await lines.filter({ hasText: 'later 6' }).waitFor();
  expect(await page.locator('.line time').count() > 0).toBe(capabilities.includes('logs'));

  await page.getByLabel('Follow').uncheck();
  await page.getByRole('searchbox').fill('LINE 2');
  await until('one match', async () => (await lines.count()) === 1);
  expect(await page.locator('mark').innerText()).toBe('line 2');
  await page.getByRole('button', { name: 'Copy these lines' }).click();
  await untilCopied(page, /line 2$/);

  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download these lines' }).click()]);
  expect(download.suggestedFilename()).toBe(`${made.name}.log`);
  expect(await readFile(await download.path(), 'utf8')).toMatch(/line 2\n$/);
});

/** Attack: log lines with control sequences in the page. Then: they are not shown. */
test('control sequences in lines are not shown', async ({ browser }) => {
  const made = await create({ command: ['sh', '-c', String.raw`printf '\033[31mred\033[0m and \033]8;;http://x\033\\link\033]8;;\033\\\n'; read line`] });
  page = await signedIn(browser, `#/agents/${made.id}/logs`);
  await page.locator('.line').filter({ hasText: 'red and link' }).waitFor();
});

test('what an earlier run has written can be read', async ({ browser }) => {
  const made = await create({ command: ['sh', '-c', 'echo started at $(date +%s%N); read line'] });
  page = await signedIn(browser, `#/agents/${made.id}/logs`);
  const lines = page.locator('.line').filter({ hasText: 'started at' });
  await lines.waitFor();
  const first = await lines.innerText();
  expect(await page.getByRole('combobox', { name: 'Run' }).count()).toBe(0);
  await call('POST', `/agents/${made.id}/restart`);
  await until('the new run', async () => (await lines.count()) === 1 && (await lines.innerText()) !== first);

  const runs = page.getByRole('combobox', { name: 'Run' });
  await runs.waitFor();
  await runs.selectOption({ index: 1 });
  await until('the earlier run', async () => (await lines.count()) === 1 && (await lines.innerText()) === first);
  await runs.selectOption({ label: 'Newest run' });
  await until('the newest run', async () => (await lines.count()) === 1 && (await lines.innerText()) !== first);
});
