import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { signedIn, test, untilCopied } from './browser.ts';
import type { SearchPage } from '../../web/service/wire.ts';
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

test('what any agent wrote is searched, and shown where it is in its logs', async ({ browser }) => {
  // More than the logs show at first, where there is more: tmux keeps 2,000 lines.
  const last = capabilities.includes('attach-tmux') ? 1500 : 2600;
  const lines = `for i in $(seq 1 200); do echo "filler $i"; done; echo "a NEEDLE of one"; for i in $(seq 201 ${last}); do echo "filler $i"; done; read line`;
  const one = await create({ command: ['sh', '-c', lines] });
  const two = await create({ command: ['sh', '-c', String.raw`echo before; printf '\033[31ma needle of two\033[0m\n'; echo after; exit 3`] });
  await until('both have written it', async () => {
    let count = 0;
    for (let query: string | undefined = ''; query !== undefined; ) {
      const found = (await (await call('GET', `/search?q=a%20needle%20of${query}`)).json()) as SearchPage;
      count += found.items.length;
      query = found.next_cursor === undefined ? undefined : `&cursor=${encodeURIComponent(found.next_cursor)}`;
    }
    return count === 2;
  }, 60_000);
  page = await signedIn(browser);
  await page.keyboard.press('/');
  const dialog = page.getByRole('dialog', { name: 'Search what agents wrote' });
  const field = dialog.getByRole('searchbox');
  await field.fill('no such line at all');
  await dialog.getByText('0 lines', { exact: true }).waitFor();
  await field.fill('a needle of');
  const hits = dialog.getByRole('listitem');
  await until('both', async () => (await hits.count()) === 2);
  const first = hits.filter({ hasText: one.name });
  expect(await first.innerText()).toMatch(/filler 199\s+filler 200\s+a NEEDLE of one\s+filler 201\s+filler 202/);
  expect(await hits.filter({ hasText: two.name }).locator('mark').innerText()).toBe('a needle of');

  // By the keyboard alone.
  await field.focus();
  for (;;) {
    await page.keyboard.press('ArrowDown');
    if ((await page.evaluate(() => document.activeElement?.textContent ?? '')).includes(one.name)) break;
  }
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: one.name, exact: true }).waitFor();
  const found = page.locator('.line.found');
  await found.waitFor();
  expect(await found.innerText()).toContain('a NEEDLE of one');
  await until('it is in view', () => found.evaluate((line) => {
    const [inner, outer] = [line.getBoundingClientRect(), line.closest('.lines')!.getBoundingClientRect()];
    return inner.top >= outer.top && inner.bottom <= outer.bottom;
  }));
  expect(await page.getByLabel('Follow').isChecked()).toBe(false);

  // What was looked for is still there, and is asked for by the palette too.
  await page.keyboard.press('Control+k');
  await page.getByRole('dialog').getByRole('combobox').fill('needle of two');
  await page.getByRole('option', { name: 'Search what agents wrote: needle of two' }).click();
  await hits.filter({ hasText: two.name }).getByRole('button').click();
  await page.getByRole('heading', { name: two.name, exact: true }).waitFor();
  await found.filter({ hasText: 'a needle of two' }).waitFor();
});

test('a search that fails says why, and one that goes on has more', async ({ browser }) => {
  const line = { agent: 'a', name: 'elsewhere', session: 's', number: 4, before: [], after: [] };
  let asked = 0;
  page = await signedIn(browser, '', {
    prepare: (opened) =>
      opened.route('**/search?*', async (route) => {
        asked += 1;
        const cursor = new URL(route.request().url()).searchParams.get('cursor');
        if (cursor === 'third') return route.fulfill({ status: 400, contentType: 'application/problem+json', json: { title: 'no', status: 400, code: 'invalid-cursor', detail: 'that cursor is no good' } });
        // The first page has none, and the second is enough.
        const items = cursor === null ? [] : Array.from({ length: 60 }, (_, at) => ({ ...line, number: at, line: `word ${at}` }));
        return route.fulfill({ json: { items, next_cursor: cursor === null ? 'second' : 'third', incomplete: cursor !== null } });
      }),
  });
  await page.keyboard.press('/');
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('searchbox').fill('word');
  await dialog.getByText('60 or more lines Some output could not be read now.').waitFor();
  expect(asked).toBe(2);
  await dialog.getByRole('button', { name: 'More' }).click();
  await dialog.getByText('that cursor is no good').waitFor();
  expect(await dialog.getByRole('listitem').count()).toBe(60);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
});
