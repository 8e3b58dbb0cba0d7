import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page, Route } from 'playwright-core';
import { expect } from 'vitest';
import { complaintsOf, RUNS, signedIn, test, untilLive } from './browser.ts';
import { about, agent, call, create, DIRECTORY, info, remove, until, URL_BASE } from './service.ts';

let page: Page;
const { capabilities, backend_type: backend } = await info();
const { on_terminals: onTerminals = false } = await about();

test.beforeAll(async ({ browser }) => {
  page = await signedIn(browser);
});
// No test inherits what another left open.
test.beforeEach(async () => {
  await page.goto(`${URL_BASE}/#/`);
  await page.reload();
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
});

const row = (name: string) => page.locator('li.agent').filter({ has: page.getByRole('link', { name, exact: true }) });

test('agents come, change and go by themselves', async () => {
  const made = await create({ command: ['sh', '-c', 'echo ready to work; read line'] });
  await row(made.name).getByText(RUNS).waitFor();
  await row(made.name).getByText('ready to work').waitFor();
  // What is the same for all is said once.
  expect(await page.getByRole('banner').innerText()).toContain(backend);
  expect(await row(made.name).innerText()).not.toContain(backend);
  await call('POST', `/agents/${made.id}/stop`);
  await row(made.name).getByText('Stopped', { exact: true }).waitFor();
  await remove(made.id);
  await row(made.name).waitFor({ state: 'detached' });
});

test('the last line of an agent comes by itself and is not asked for', async () => {
  const asked: string[] = [];
  const note = (request: { url(): string }) => asked.push(request.url());
  page.on('request', note);
  const made = await create({ command: ['sh', '-c', 'echo at first; while read -r line; do echo then $line; done'] });
  await row(made.name).getByText('at first').waitFor();
  await call('POST', `/agents/${made.id}/input`, { text: 'something else', submit: true });
  await row(made.name).getByText('then something else').waitFor();
  page.off('request', note);
  expect(asked.filter((url) => url.includes('/logs'))).toEqual([]);
  await remove(made.id);
});

test('an end with an error is shown', async () => {
  const made = await create({ command: ['sh', '-c', 'exit 3'] });
  await row(made.name).getByText('Failed').waitFor();
  await row(made.name).getByText('exited with code 3').waitFor();
});

test('stop, restart and delete, each with the right question', async () => {
  const made = await create({ command: ['sh', '-c', 'read line'] });
  await row(made.name).getByText(RUNS).waitFor();

  await page.getByRole('button', { name: `Stop ${made.name}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  expect((await agent(made.id)).status).toBe('running');

  await page.getByRole('button', { name: `Stop ${made.name}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click();
  await row(made.name).getByText('Stopped', { exact: true }).waitFor();
  await row(made.name).getByText('stopped from this page').waitFor();

  await page.getByRole('button', { name: `Restart ${made.name}` }).click();
  await row(made.name).getByText(RUNS).waitFor();
  expect((await agent(made.id)).restarts).toBe(1);

  await page.getByRole('button', { name: `Delete ${made.name}` }).click();
  await page.getByRole('dialog', { name: `Delete ${made.name}?` }).getByRole('button', { name: 'Delete' }).click();
  await row(made.name).waitFor({ state: 'detached' });
  expect((await call('GET', `/agents/${made.id}`)).status).toBe(404);
});

test('an agent that cannot be ended is deleted all the same, when that is asked for', async () => {
  const made = await create({ command: ['sh', '-c', 'read line'] });
  const detail = 'its backend is gone';
  const refuse = (route: Route) =>
    route.request().method() === 'DELETE'
      ? route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ title: 'unavailable', code: 'backend-unavailable', detail }) })
      : route.continue();
  // Not what is asked by force, which has a query.
  await page.route(`**/agents/${made.id}`, refuse);
  await page.getByRole('button', { name: `Delete ${made.name}` }).click();
  const dialog = page.getByRole('dialog', { name: `Delete ${made.name}?` });
  await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
  await dialog.getByText(detail).waitFor();
  await dialog.getByRole('button', { name: 'Delete anyway' }).click();
  await row(made.name).waitFor({ state: 'detached' });
  expect((await call('GET', `/agents/${made.id}`)).status).toBe(404);
  await page.unroute(`**/agents/${made.id}`);
});

test('an agent is made in the dialog', async () => {
  const name = `ui-made-${process.pid}`;
  await page.getByRole('button', { name: 'New agent' }).click();
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByText('Letters, digits').waitFor();
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Runs').selectOption('command');
  await dialog.getByLabel('Command').fill(`sh -c 'echo "value: $SECRET_OF_TEST"; read line; echo "told: $line"; read line'`);
  await dialog.getByLabel('Directory').fill(DIRECTORY);
  await dialog.getByLabel('Prompt').fill('do it');
  await dialog.getByLabel('Start again').selectOption('on-failure');
  await dialog.getByLabel('In a row at most').fill('many');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByText('A whole number').waitFor();
  await dialog.getByLabel('In a row at most').fill('3');
  const keep = dialog.getByLabel('Much output while agentd is not running');
  if (onTerminals) await keep.selectOption('drop');
  else expect(await keep.count()).toBe(0);
  await dialog.getByRole('button', { name: 'Add a variable' }).click();
  await dialog.getByRole('textbox', { name: 'Variable 1', exact: true }).fill('SECRET_OF_TEST');
  const value = dialog.getByLabel('Value of SECRET_OF_TEST');
  await value.fill('hush');
  expect(await value.getAttribute('type')).toBe('password');
  await dialog.getByRole('button', { name: 'Create' }).click();

  await page.getByRole('heading', { name }).waitFor();
  const id = page.url().split('/agents/')[1]?.split('/')[0] ?? '';
  const made = await agent(id);
  expect(made.session?.command).toEqual(['sh', '-c', 'echo "value: $SECRET_OF_TEST"; read line; echo "told: $line"; read line']);
  expect(made.session?.env).toEqual({ SECRET_OF_TEST: '***' });
  expect([made.restart, made.max_restarts]).toEqual(['on-failure', 3]);
  expect(made.session?.keep).toBe(onTerminals ? 'drop' : undefined);
  await page.getByRole('tab', { name: 'Logs' }).click();
  await page.getByText('value: hush').first().waitFor();
  await page.getByText('told: do it').first().waitFor();
  await page.getByRole('tab', { name: 'Details' }).click();
  await page.getByText('hidden').waitFor();
  if (onTerminals) await page.getByText('it goes on, and the oldest output is lost').waitFor();
  expect(await page.locator('main').innerText()).not.toContain('hush');

  // The same name again is refused, in the service's own words.
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Agents' }).click();
  await page.getByRole('button', { name: 'New agent' }).click();
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Runs').selectOption('general');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByRole('alert').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await remove(id);
});

test('a long reason stays in its box', async () => {
  await page.getByRole('button', { name: 'New agent' }).click();
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name').fill(`ui-long-${process.pid}`);
  await dialog.getByLabel('Runs').selectOption('general');
  await dialog.getByLabel('Directory').fill(`/${'without-a-break'.repeat(12)}`);
  await dialog.getByRole('button', { name: 'Create' }).click();
  const note = dialog.getByRole('alert');
  await note.waitFor();
  expect(await note.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
  expect(await dialog.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
});

test('the backend describes its own options, and they reach it', async () => {
  const described = (await (await call('GET', '/backend')).json()) as { options_schema: { properties?: object } | null };
  const any = Object.keys(described.options_schema?.properties ?? {}).length > 0;
  await page.getByRole('button', { name: 'New agent' }).click();
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  // The form is busy until it knows the options.
  await dialog.locator('form[aria-busy=false]').waitFor();
  expect(await dialog.locator('details.options').count()).toBe(any ? 1 : 0);
  if (any) {
    await dialog.locator('summary').click();
    const fields = await dialog.locator('details.options').locator('input, select, button').count();
    expect(fields).toBeGreaterThan(0);
  }
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
});

test('a dialog has the keyboard as soon as it is there', async () => {
  const isModal = await page.evaluate(
    () =>
      new Promise<boolean>((resolve) => {
        // Notified before the browser takes the next key.
        new MutationObserver((_, observer) => {
          const dialog = document.querySelector('dialog');
          if (!dialog) return;
          observer.disconnect();
          resolve(dialog.matches(':modal'));
        }).observe(document.body, { childList: true, subtree: true });
        [...document.querySelectorAll('button')].find((button) => button.textContent?.includes('New agent'))?.click();
      }),
  );
  expect(isModal).toBe(true);
  await page.keyboard.press('Escape');
  // Covered by a dialog that is still open, the button would not be clicked.
  for (let round = 0; round < 10; round += 1) {
    await page.getByRole('button', { name: 'New agent' }).click();
    await page.keyboard.press('Escape');
  }
  await page.getByRole('button', { name: 'New agent' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
});

test('closing the dialog cancels a creation that takes long', async () => {
  const name = `ui-slow-${process.pid}`;
  const held: Route[] = [];
  const hold = (route: Route) => void (route.request().method() === 'POST' ? held.push(route) : route.continue());
  await page.route('**/agents', hold);
  await page.getByRole('button', { name: 'New agent' }).click();
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Runs').selectOption('general');
  await dialog.getByLabel('Directory').fill(DIRECTORY);
  const givenUp = page.waitForEvent('requestfailed', (request) => request.method() === 'POST');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await until('the request', async () => held.length === 1);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await givenUp;
  await page.unroute('**/agents', hold);
  expect(await page.getByRole('heading', { name: 'Agents', exact: true }).count()).toBe(1);
});

test('the list is filtered, and is as it was on going back to it', async () => {
  const one = await create({ command: ['sh', '-c', 'read line'] });
  const two = await create({ command: ['sh', '-c', 'exit 4'] });
  await row(two.name).getByText('Failed').waitFor();
  const find = page.getByRole('searchbox', { name: 'Find' });
  await find.fill(one.name);
  await row(two.name).waitFor({ state: 'detached' });
  await row(one.name).waitFor();
  await find.fill('');
  const failed = page.getByRole('group', { name: 'Show' }).getByRole('button', { name: /^Failed/ });
  await failed.click();
  await row(one.name).waitFor({ state: 'detached' });
  await find.fill(two.name);
  // The whole row leads to the agent.
  await row(two.name).click();
  await page.getByRole('heading', { name: two.name }).waitFor();
  const isAsItWas = async () => {
    await row(two.name).waitFor();
    expect(await find.inputValue()).toBe(two.name);
    expect(await failed.getAttribute('aria-pressed')).toBe('true');
    expect(await row(one.name).count()).toBe(0);
  };
  await page.goBack();
  await isAsItWas();
  await page.goForward();
  await page.getByRole('heading', { name: two.name }).waitFor();
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Agents' }).click();
  await isAsItWas();
});

test('labels are given, changed and found by', async () => {
  const one = await create({ command: ['sh', '-c', 'read line'], labels: { team: 'a', urgent: '' } });
  const two = await create({ command: ['sh', '-c', 'read line'], labels: { team: 'b' } });
  await row(one.name).getByText('team=a', { exact: true }).waitFor();
  await row(two.name).getByRole('button', { name: 'Only with team=b' }).click();
  await row(one.name).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Also without team=b' }).click();
  await row(one.name).waitFor();
  await page.getByRole('searchbox', { name: 'Find' }).fill('team=b');
  await row(one.name).waitFor({ state: 'detached' });
  await row(two.name).getByRole('link').click();

  await page.getByRole('tab', { name: 'Details' }).click();
  const labels = page.getByRole('list', { name: `Labels of ${two.name}` });
  await labels.getByText('team=b', { exact: true }).waitFor();
  await page.getByRole('textbox', { name: 'Add labels' }).fill('-bad=x');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByText('is not the key of a label').waitFor();
  await page.getByRole('textbox', { name: 'Add labels' }).fill('note="two words" urgent');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await labels.getByText('note=two words', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Remove the label team' }).click();
  await labels.getByText('team=b', { exact: true }).waitFor({ state: 'detached' });
  expect((await agent(two.id)).labels).toEqual({ note: 'two words', urgent: '' });

  // What another changes is seen at once.
  await call('PATCH', `/agents/${two.id}`, { labels: { urgent: null, late: 'yes' } });
  await labels.getByText('late=yes', { exact: true }).waitFor();
});

test('an agent gets another name', async () => {
  const made = await create({ command: ['sh', '-c', 'read line'] });
  const other = await create({ command: ['sh', '-c', 'read line'] });
  await row(made.name).getByRole('link').click();
  await page.getByRole('tab', { name: 'Details' }).click();
  const name = page.getByLabel('Its name');
  const rename = page.getByRole('button', { name: 'Rename' });
  expect(await name.inputValue()).toBe(made.name);
  expect(await rename.isDisabled()).toBe(true);
  for (const [wrong, why] of [['a b', 'Letters, digits'], [other.name, 'is taken']] as const) {
    await name.fill(wrong);
    await rename.click();
    await page.getByText(why).waitFor();
  }
  await name.fill(`${made.name}-new`);
  await rename.click();
  await page.getByRole('heading', { name: `${made.name}-new`, exact: true }).waitFor();
  expect((await agent(made.id)).name).toBe(`${made.name}-new`);

  // What another changes is seen at once.
  await call('PATCH', `/agents/${made.id}`, { name: `${made.name}-late` });
  await until('the other name', async () => (await name.inputValue()) === `${made.name}-late`);
});

test('what has changed in the directory is shown', async () => {
  const directory = mkdtempSync(join(DIRECTORY, 'agentd-ui-'));
  // A container runs as whoever owns its directory.
  const { uid, gid } = statSync(DIRECTORY);
  chownSync(directory, uid, gid);
  const made = await create({ command: ['sh', '-c', 'read line'], working_dir: directory });
  const git = (...argv: string[]) =>
    execFileSync('git', ['-c', 'safe.directory=*', '-c', 'user.name=x', '-c', 'user.email=x@example.org', '-c', 'init.defaultBranch=main', ...argv], { cwd: directory });
  await row(made.name).getByRole('link').click();
  await page.getByRole('tab', { name: 'Changes' }).click();
  await page.getByText('is not in a git repository').waitFor();
  git('init', '-q');
  writeFileSync(join(directory, 'text'), 'one\n');
  git('add', '.');
  git('commit', '-qm', 'first');
  const again = page.getByRole('button', { name: 'Look again' });
  await again.click();
  await page.getByText('Nothing has changed since the last commit.').waitFor();
  await page.locator('.since-commit').getByText('main').waitFor();

  writeFileSync(join(directory, 'text'), 'two <b>bold</b>\n');
  writeFileSync(join(directory, 'fresh'), 'new\n');
  await again.click();
  await page.locator('.tools').getByText('2 files').waitFor();
  const file = (name: string) => page.locator('.file').filter({ has: page.locator('summary').getByText(name, { exact: true }) });
  expect(await file('text').locator('.added').allInnerTexts()).toEqual(['+1', '+two <b>bold</b>\n']);
  expect(await file('text').locator('pre .removed').innerText()).toBe('-one\n');
  await file('fresh').locator('pre').getByText('+new').waitFor();
  await file('fresh').locator('summary').click();
  await file('fresh').locator('pre').waitFor({ state: 'detached' });
});

test('when an agent is started again is shown and changed', async () => {
  const made = await create({ command: ['sh', '-c', 'read line'], restart: 'on-failure', max_restarts: 2 });
  await row(made.name).getByRole('link').click();
  await page.getByRole('tab', { name: 'Details' }).click();
  const again = page.getByLabel('Start again');
  const most = page.getByLabel('In a row at most');
  expect([await again.inputValue(), await most.inputValue()]).toEqual(['on-failure', '2']);
  const save = page.getByRole('button', { name: 'Save' });
  expect(await save.count()).toBe(0);
  await again.selectOption('always');
  await most.fill('-1');
  await save.click();
  await page.getByText('A whole number').waitFor();
  await most.fill('');
  await save.click();
  await save.waitFor({ state: 'detached' });
  const saved = await agent(made.id);
  expect([saved.restart, saved.max_restarts]).toEqual(['always', undefined]);

  // What another changes is seen at once.
  await call('PATCH', `/agents/${made.id}`, { restart: 'on-failure', max_restarts: 7 });
  await until('the other policy', async () => (await again.inputValue()) === 'on-failure' && (await most.inputValue()) === '7');
});

test('what is typed for a new agent is kept until there is one, or it is cancelled', async () => {
  const name = `ui-kept-${process.pid}`;
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await page.getByRole('button', { name: 'New agent' }).click();
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Runs').selectOption('command');
  await dialog.getByLabel('Command').fill('sh -c "read line"');
  await dialog.getByLabel('Directory').fill('/nowhere/at/all');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await dialog.getByRole('alert').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'New agent' }).click();
  expect(await dialog.getByLabel('Name').inputValue()).toBe(name);
  expect(await dialog.getByLabel('Command').inputValue()).toBe('sh -c "read line"');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: 'New agent' }).click();
  expect(await dialog.getByLabel('Name').inputValue()).toBe('');
  await page.keyboard.press('Escape');
});

test('another one like it is made, in a directory that is remembered', async () => {
  const made = await create({ command: ['sh', '-c', 'echo "a b"; read line'], labels: { team: 'a', note: 'two words' }, restart: 'on-failure', max_restarts: 4, env: { SOME: 'x' } });
  await page.getByRole('button', { name: `Duplicate ${made.name}` }).click();
  const dialog = page.getByRole('dialog', { name: 'New agent' });
  await dialog.locator('form[aria-busy=false]').waitFor();
  expect(await dialog.getByLabel('Value of SOME').inputValue()).toBe('');
  const name = await dialog.getByLabel('Name').inputValue();
  expect(name).not.toBe(made.name);
  expect(await page.locator(`datalist option[value="${DIRECTORY}"]`).count()).toBe(1);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await page.getByRole('heading', { name, exact: true }).waitFor();
  const id = page.url().split('/agents/')[1]?.split('/')[0] ?? '';
  const { labels, restart, max_restarts, session } = await agent(id);
  expect({ labels, restart, max_restarts }).toEqual({ labels: made.labels, restart: 'on-failure', max_restarts: 4 });
  expect(session?.command).toEqual(made.session?.command);
  await remove(id);
});

test('several are chosen, and stopped and deleted together', async () => {
  const some = [await create({ command: ['sh', '-c', 'read line'] }), await create({ command: ['sh', '-c', 'read line'] })];
  const other = await create({ command: ['sh', '-c', 'read line'] });
  for (const { name } of some) await page.getByRole('checkbox', { name: `Choose ${name}`, exact: true }).check();
  const bar = page.getByRole('region', { name: 'Chosen agents' });
  await bar.getByText('2 chosen').waitFor();

  // Labels are given and taken together, and those that only one has stay.
  await call('PATCH', `/agents/${some[0]?.id}`, { labels: { old: 'x', own: 'y' } });
  await row(some[0]?.name ?? '').getByText('own=y').waitFor();
  await bar.getByRole('button', { name: 'Labels' }).click();
  const labels = page.getByRole('dialog', { name: 'Labels of 2 agents' });
  await labels.getByLabel('Add labels').fill('-wrong=x');
  await labels.getByRole('button', { name: 'Save' }).click();
  await labels.getByText('is not the key of a label').waitFor();
  await labels.getByLabel('Add labels').fill('team=b');
  await labels.getByRole('checkbox', { name: 'old=x' }).uncheck();
  await labels.getByRole('button', { name: 'Save' }).click();
  await labels.waitFor({ state: 'detached' });
  expect((await agent(some[0]?.id ?? '')).labels).toEqual({ team: 'b', own: 'y' });
  expect((await agent(some[1]?.id ?? '')).labels).toEqual({ team: 'b' });
  expect((await agent(other.id)).labels).toEqual({});

  // All that are listed, and no others.
  await page.getByRole('searchbox', { name: 'Find' }).fill(other.name);
  await bar.getByRole('button', { name: 'All 1' }).click();
  await bar.getByText('3 chosen').waitFor();
  await page.getByRole('searchbox', { name: 'Find' }).fill('');
  await page.getByRole('checkbox', { name: `Choose ${other.name}`, exact: true }).uncheck();
  await bar.getByText('2 chosen').waitFor();
  await bar.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('dialog', { name: 'Stop 2 agents?' }).getByRole('button', { name: 'Stop' }).click();
  for (const { name } of some) await row(name).getByText('Stopped', { exact: true }).waitFor();
  await bar.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog', { name: 'Delete 2 agents?' }).getByRole('button', { name: 'Delete' }).click();
  for (const { name } of some) await row(name).waitFor({ state: 'detached' });
  await bar.waitFor({ state: 'detached' });
  expect((await agent(other.id)).status).toBe('running');
});

test('nothing lies on what can be clicked, however wide the window is', async ({ browser }) => {
  const made = await create({ name: `ui-${process.pid}-with-a-name-that-is-long`, command: ['sh', '-c', 'read line'] });
  await call('POST', `/agents/${made.id}/restart`);
  const tab = capabilities.includes('terminal') ? 'terminal' : 'logs';
  const own = await signedIn(browser, `#/agents/${made.id}/${tab}`);
  await own.getByRole('combobox', { name: 'Run' }).waitFor();
  /** What of them is not where a click would find it. Tools may be scrolled to. */
  const covered = (selector: string) =>
    own.locator(selector).evaluateAll((all) =>
      all.filter((one) => {
        if (one.closest('.tools')) one.scrollIntoView({ inline: 'nearest', block: 'nearest' });
        const { x, y, width, height } = one.getBoundingClientRect();
        const found = document.elementFromPoint(x + width / 2, y + height / 2);
        return width > 0 && !one.contains(found);
      }).map((one) => one.getAttribute('aria-label') ?? one.textContent),
    );
  for (const width of [1500, 1401, 1300, 1260, 1100, 700, 390]) {
    await own.setViewportSize({ width, height: 800 });
    for (const selector of ['.agent-page .actions .tool', '.agent-page [role=tab]', '.agent-page .tools :is(.tool, select)', '.composer .button']) {
      expect(await covered(selector), `${selector}, ${width} wide`).toEqual([]);
    }
  }
  await own.evaluate(() => (location.hash = '#/'));
  await own.getByRole('checkbox', { name: `Choose ${made.name}`, exact: true }).check();
  await own.getByRole('region', { name: 'Chosen agents' }).scrollIntoViewIfNeeded();
  expect(await covered('.chosen .bar .button')).toEqual([]);
  await own.context().close();
});

test('the tabs are those of the backend', async () => {
  const made = await create({ command: ['sh', '-c', 'echo seen; read line'] });
  await row(made.name).getByRole('link').click();
  await page.getByRole('tab', { name: 'Details' }).waitFor();
  const tabs = await page.getByRole('tab').allInnerTexts();
  expect(tabs).toEqual(capabilities.includes('terminal') ? ['Terminal', 'Logs', 'Changes', 'Details'] : ['Logs', 'Changes', 'Details']);
  expect(await page.getByRole('tab', { selected: true }).innerText()).toBe(tabs[0]);
  expect(await page.getByRole('link', { name: 'Grid' }).count()).toBe(capabilities.includes('terminal') ? 1 : 0);

  // With the arrow keys, as tabs are used.
  if (capabilities.includes('terminal')) await untilLive(page);
  await page.getByRole('tab', { selected: true }).focus();
  await page.keyboard.press('End');
  expect(await page.getByRole('tab', { selected: true }).innerText()).toBe('Details');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  expect(await page.getByRole('tab', { selected: true }).innerText()).toBe('Logs');
  if (capabilities.includes('attach-tmux')) {
    await page.keyboard.press('End');
    // Again where facts that come meanwhile, as what it does, move the button away from below the pointer.
    const copy = page.getByRole('button', { name: 'Copy the attach command', exact: true });
    await until('the attach command on the clipboard', async () => {
      await copy.click();
      return (await page.evaluate(() => navigator.clipboard.readText())).includes('tmux');
    });
  }
});

// It is more than a terminal takes of which nobody reads.
test.runIf(capabilities.includes('terminal'))('a prompt that could not be typed to its end is shown as such', async () => {
  const made = await create({ command: ['sh', '-c', 'stty raw -echo; echo ready; exec sleep 1000'], prompt: 'x'.repeat(30_000) });
  await until('it is being typed', async () => (await agent(made.id)).prompt === 'delivered');
  await page.goto(`${URL_BASE}/#/agents/${made.id}/details`);
  await call('POST', `/agents/${made.id}/stop`);
  await page.getByText('It could not be typed.').waitFor();
});

test('nothing was blocked, failed, or fetched from elsewhere', () => {
  expect(complaintsOf(page)).toEqual([]);
});
