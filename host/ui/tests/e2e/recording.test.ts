import { readFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { signedIn, test } from './browser.ts';
import { agent, call, create, DIRECTORY, info, until } from './service.ts';
import type { Agent, NewAgent } from '../../web/service/wire.ts';

const { capabilities } = await info();
const recorded = capabilities.includes('terminal');

test.runIf(recorded)('what a terminal has shown is played, and can be saved', async ({ browser }) => {
  const made = await create({ command: ['sh', '-c', String.raw`printf 'recorded \033[32m漢字\033[0m\n'; exit 3`], record: true });
  await until('its end', async () => (await agent(made.id)).session?.state === 'exited');
  const page = await signedIn(browser, `#/agents/${made.id}`);
  await page.getByRole('tab', { name: 'Logs' }).waitFor();
  const loaded: string[] = [];
  page.on('request', (request) => loaded.push(request.url()));
  await page.getByRole('tab', { name: 'Recording' }).click();
  // Not before: the first page stays light.
  const player = page.getByRole('region', { name: `Recording of ${made.name}` });
  // Wide characters are elements of their own.
  const shown = async () => ((await player.locator('.ap-term-text').textContent()) ?? '').replace(/\s/g, '');
  await until('the recorded text', async () => (await shown()).includes('recorded漢字'));
  expect(loaded.some((url) => url.includes('/player-'))).toBe(true);
  expect(await page.getByRole('status').filter({ hasText: 'Complete' }).count()).toBe(1);

  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
  expect(download.suggestedFilename()).toBe(`${made.name}.cast`);
  const [header, first] = (await readFile(await download.path(), 'utf8')).split('\n').map((line) => (line === '' ? null : JSON.parse(line)));
  expect(header.version).toBe(3);
  expect(first[2]).toContain('recorded');
});

test('there is no such tab where nothing is recorded', async ({ browser }) => {
  const made = await create({ command: ['sh', '-c', 'read line'] });
  const page = await signedIn(browser, `#/agents/${made.id}/recording`);
  await page.getByRole('tab', { name: 'Logs' }).waitFor();
  expect(await page.getByRole('tab', { name: 'Recording' }).count()).toBe(0);
});

const recordingAll = ({ items }: { items: object[] }) => ({ items: items.map((item) => ({ ...item, records_all: true })) });

test.runIf(recorded)('where all are recorded, that is shown, and one can be left out', async ({ browser }) => {
  const page = await signedIn(browser, '', {
    prepare: (opened) =>
      opened.route('**/backends', async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, json: recordingAll((await response.json()) as { items: object[] }) });
      }),
  });
  const asked: NewAgent[] = [];
  page.on('request', (request) => request.method() === 'POST' && request.url().endsWith('/agents') && asked.push(request.postDataJSON() as NewAgent));
  for (const left of [false, true]) {
    await page.getByRole('button', { name: 'New agent' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.locator('form[aria-busy=false]').waitFor();
    const name = `all-${process.pid}-${left}`;
    await dialog.getByLabel('Name').fill(name);
    await dialog.getByLabel('Runs').selectOption('command');
    await dialog.getByLabel('Command').fill('cat');
    await dialog.getByLabel('Directory').fill(DIRECTORY);
    const record = dialog.getByRole('checkbox', { name: 'Record what its terminal shows' });
    expect(await record.isChecked()).toBe(true);
    if (left) await record.uncheck();
    await dialog.getByRole('button', { name: 'Create' }).click();
    await page.getByRole('heading', { name, exact: true }).waitFor();
    expect(asked.at(-1)?.record).toBe(left ? false : undefined);
    const [made] = ((await (await call('GET', `/agents?name=${name}`)).json()) as { items: Agent[] }).items;
    await call('DELETE', `/agents/${made?.id}`);
    await page.goto(page.url().replace(/#.*/, '#/'));
  }
});
