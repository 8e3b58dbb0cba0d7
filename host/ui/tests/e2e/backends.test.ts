import { describe, expect } from 'vitest';
import { complaintsOf, RUNS, signedIn, test, untilLive } from './browser.ts';
import { agent, backends, create, DIRECTORY, until, URL_BASE } from './service.ts';

const all = await backends();

/** On a service whose default is `pty`, with `tmux` beside it and one that is not there. */
describe('several backends', () => {
  test('an agent shows what its own backend can do, and the list can be of one of them', async ({ browser }) => {
    const [one, other] = await Promise.all(['pty', 'tmux'].map((backend) => create({ command: ['sh', '-c', 'read line'], backend })));
    if (!one || !other) throw new Error('two agents were created');
    const page = await signedIn(browser);
    const row = (name: string) => page.locator('li.agent').filter({ has: page.getByRole('link', { name, exact: true }) });
    await row(one.name).getByText('pty', { exact: true }).waitFor();
    await row(other.name).getByText('tmux', { exact: true }).waitFor();
    await page.getByLabel('Backend').selectOption('tmux');
    await row(one.name).waitFor({ state: 'detached' });
    await row(other.name).getByText(RUNS).waitFor();
    await page.getByLabel('Backend').selectOption('All backends');
    await row(one.name).waitFor();

    await page.goto(`${URL_BASE}/#/agents/${one.id}`);
    await page.getByRole('tab', { name: 'Terminal' }).waitFor();
    await untilLive(page);
    await page.goto(`${URL_BASE}/#/agents/${other.id}/details`);
    await page.getByText('attach-session').waitFor();
    expect(await page.getByRole('tab', { name: 'Terminal' }).count()).toBe(0);
    expect(complaintsOf(page)).toEqual([]);
    await page.context().close();
  });

  test('a new agent can have any backend that is there', async ({ browser }) => {
    const page = await signedIn(browser);
    const name = `ui-several-${process.pid}`;
    await page.getByRole('button', { name: 'New agent' }).click();
    const dialog = page.getByRole('dialog', { name: 'New agent' });
    await dialog.locator('form[aria-busy=false]').waitFor();
    const choice = dialog.getByLabel('Backend');
    expect(await choice.inputValue()).toBe('pty');
    await dialog.getByLabel('Name').fill(name);
    await dialog.getByLabel('Runs').selectOption('command');
    await dialog.getByLabel('Command').fill('sh -c "read line"');
    await dialog.getByLabel('Directory').fill(DIRECTORY);

    // One that is not there says why, and keeps what was filled in.
    const missing = all.find(({ state }) => state === 'unavailable');
    await choice.selectOption(`${missing?.backend_type} (not there)`);
    await dialog.getByRole('button', { name: 'Create' }).click();
    await dialog.getByText(missing?.reason ?? 'a reason').waitFor();

    for (const { backend_type, options_schema } of all.filter(({ state }) => state === 'ready')) {
      await choice.selectOption(backend_type);
      const options = Object.keys(options_schema?.properties ?? {}).length;
      await until(`the options of ${backend_type}`, async () => (await dialog.getByText(`Options of ${backend_type}`).count()) === Math.min(options, 1));
    }
    await choice.selectOption('tmux');
    await dialog.getByRole('button', { name: 'Create' }).click();
    await page.getByRole('heading', { name }).waitFor();
    const id = page.url().split('/agents/')[1]?.split('/')[0] ?? '';
    expect((await agent(id)).session?.backend_type).toBe('tmux');
    expect(complaintsOf(page)).toEqual([]);
    await page.context().close();
  });
});
