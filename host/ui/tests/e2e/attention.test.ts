/** Who needs a person, how one gets there and answers. */
import type { Page } from 'playwright-core';
import { describe, expect } from 'vitest';
import { does, pretendActivities } from './activity.ts';
import { closeAll, signedIn, test as browserTest, type, untilLive, untilShows } from './browser.ts';
import { agent, create, info, remove, removeAll, until, URL_BASE } from './service.ts';

const { capabilities } = await info();
const terminals = capabilities.includes('terminal');
const keyboards = terminals || capabilities.includes('attach-tmux');
/** Shows each key that it is sent, and each line. */
const KEYS = { command: ['sh', '-c', `printf 'Proceed?\\n'; stty -icanon -echo 2>/dev/null; cat -v`] };
const LINES = { command: ['sh', '-c', 'echo ready; while read -r line; do echo "got $line"; done'] };

/** A page of somebody who is signed in, which is told of activities by the test alone. */
const test = browserTest.extend('open', ({ browser }, { onCleanup }) => {
  onCleanup(async () => {
    await closeAll(browser);
    await removeAll();
  });
  return (path = '', { prepare = async () => {}, ...options }: Parameters<typeof signedIn>[2] = {}) =>
    signedIn(browser, path, {
      ...options,
      prepare: async (page) => {
        await pretendActivities(page);
        await prepare(page);
      },
    });
});
const row = (page: Page, name: string) => page.locator('li.agent').filter({ has: page.getByRole('link', { name, exact: true }) });
const names = (page: Page) => page.locator('li.agent .name').allInnerTexts();
const iconOf = (page: Page) => page.locator('link[rel=icon]').getAttribute('href');

test('who waits longest comes first, with its reason, and the tab says how many wait', async ({ open }) => {
  const early = await create(LINES);
  const late = await create(LINES);
  const works = await create(LINES);
  const page = await open();
  await row(page, works.name).waitFor();
  expect(await names(page)).toEqual([works.name, late.name, early.name]);
  expect(await page.title()).toBe('Agents · agentd');

  await does(page, late, 'waiting', { seconds: 30, reason: 'wants to edit a file' });
  await does(page, works, 'working', { title: 'Fix the build' });
  await row(page, late.name).getByText('wants to edit a file').waitFor();
  await row(page, works.name).getByText('Working', { exact: true }).waitFor();
  await row(page, works.name).getByText('Fix the build').waitFor();
  await does(page, early, 'waiting', { seconds: 300 });
  await until('the order', async () => (await names(page)).join() === [early.name, late.name, works.name].join());
  await row(page, early.name).getByText(/^5m/).waitFor();
  await until('the title', async () => (await page.title()) === '(2) Agents · agentd');
  expect(await iconOf(page)).toBe('/favicon-2.svg');
  expect((await fetch(`${URL_BASE}/favicon-2.svg`)).headers.get('content-type')).toBe('image/svg+xml');

  await page.getByRole('group', { name: 'Show' }).getByRole('button', { name: 'Waiting 2' }).click();
  await row(page, works.name).waitFor({ state: 'detached' });
  await page.getByRole('combobox', { name: 'Order' }).selectOption('name');
  await until('the order by name', async () => (await names(page)).join() === [early.name, late.name].join());

  await does(page, early, 'working');
  await does(page, late, 'idle');
  await page.getByText('No agent matches.').waitFor();
  await until('the title', async () => (await page.title()) === 'Agents · agentd');
  expect(await iconOf(page)).toBe('/favicon.svg');
});

test('the browser notifies when that is switched on, and not of the agent that is looked at', async ({ open }) => {
  const one = await create(LINES);
  const two = await create(LINES);
  const page = await open('', {
    permissions: ['notifications'],
    prepare: (made) =>
      made.addInitScript(() => {
        const shown: string[] = [];
        class Shown {
          static permission = 'granted';
          static requestPermission = async () => 'granted';
          onclick: (() => void) | null = null;
          constructor(title: string, { body }: { body: string }) {
            shown.push(`${title}: ${body}`);
            Object.assign(window, { lastNotification: this });
          }
          close() {}
        }
        Object.assign(window, { Notification: Shown, shown });
      }),
  });
  const shown = () => page.evaluate(() => (window as unknown as { shown: string[] }).shown);
  await row(page, two.name).waitFor();
  const bell = page.getByRole('button', { name: 'Notify me when an agent waits' });
  expect(await bell.getAttribute('aria-pressed')).toBe('false');
  await does(page, one, 'waiting', { reason: 'first' });
  await row(page, one.name).getByText('first').waitFor();
  expect(await shown()).toEqual([]);

  await bell.click();
  await until('the switch', async () => (await bell.getAttribute('aria-pressed')) === 'true');
  await does(page, one, 'working');
  await does(page, one, 'waiting', { reason: 'second' });
  await until('the notification', async () => (await shown()).join() === `${one.name} waits: second`);
  await page.evaluate(() => (window as unknown as { lastNotification: { onclick(): void } }).lastNotification.onclick());
  await page.getByRole('heading', { name: one.name, exact: true }).waitFor();

  // Of the one that is looked at nothing is said; of the other one it is, after it.
  await does(page, one, 'working');
  await does(page, one, 'waiting', { reason: 'third' });
  await does(page, two, 'waiting', { reason: 'fourth' });
  await until('the other', async () => (await shown()).length === 2);
  expect(await shown()).toEqual([`${one.name} waits: second`, `${two.name} waits: fourth`]);
  await page.reload();
  await page.getByRole('heading', { name: one.name, exact: true }).waitFor();
  expect(await bell.getAttribute('aria-pressed')).toBe('true');
});

test('a prompt of several lines is sent, and what was sent comes back', async ({ open }) => {
  const made = await create(LINES);
  const page = await open(`#/agents/${made.id}/logs`);
  await page.locator('.line').filter({ hasText: 'ready' }).waitFor();
  const box = page.getByRole('textbox', { name: `Prompt for ${made.name}` });
  await box.fill('one');
  await page.keyboard.press('Enter');
  await page.locator('.line').filter({ hasText: 'got one' }).first().waitFor();
  await until('an empty box', async () => (await box.inputValue()) === '');
  await box.pressSequentially('two');
  await page.keyboard.press('Shift+Enter');
  await box.pressSequentially('three');
  expect(await box.inputValue()).toBe('two\nthree');
  await page.getByRole('button', { name: `Send to ${made.name}` }).click();
  await page.locator('.line').filter({ hasText: 'got three' }).first().waitFor();
  await until('an empty box', async () => (await box.inputValue()) === '');

  await box.focus();
  for (const expected of ['two\nthree', 'one']) {
    await page.keyboard.press('Control+Home');
    await page.keyboard.press('ArrowUp');
    await until('what was sent', async () => (await box.inputValue()) === expected);
  }
  await page.keyboard.press('ArrowDown');
  await until('the later one', async () => (await box.inputValue()) === 'two\nthree');

  // What fails stays in its place among what was sent.
  await page.route(`**/agents/${made.id}/input`, (route) => route.abort());
  await page.keyboard.press('Enter');
  await page.getByText(`${made.name}: `).first().waitFor();
  expect(await box.inputValue()).toBe('two\nthree');
  await page.keyboard.press('Control+Home');
  await page.keyboard.press('ArrowUp');
  await until('the one before it', async () => (await box.inputValue()) === 'one');
  await page.unroute(`**/agents/${made.id}/input`);

  // What is written stays where it was written for.
  await box.fill('to be continued');
  await page.getByRole('tab', { name: 'Details' }).click();
  await page.getByRole('tab', { name: 'Logs' }).click();
  expect(await box.inputValue()).toBe('to be continued');
});

test('what is under the pointer stays there', async ({ open }) => {
  const [one, two, three] = [await create(LINES), await create(LINES), await create(LINES)];
  const page = await open();
  await row(page, one.name).waitFor();
  const before = [three.name, two.name, one.name];
  expect(await names(page)).toEqual(before);
  await row(page, three.name).hover();
  await does(page, one, 'waiting', { seconds: 90, reason: 'asks first' });
  await row(page, one.name).getByText('asks first').waitFor();
  expect(await names(page)).toEqual(before);
  await page.mouse.move(300, 200);
  // What is new comes at the end, and what goes leaves the others in their order.
  const four = await create(LINES);
  await row(page, four.name).waitFor();
  expect(await names(page)).toEqual([...before, four.name]);
  await remove(two.id);
  await row(page, two.name).waitFor({ state: 'detached' });
  expect(await names(page)).toEqual([three.name, one.name, four.name]);
  await page.mouse.move(0, 0);
  await until('the order', async () => (await names(page)).join() === [one.name, four.name, three.name].join());

  // Another list has its own order at once.
  await row(page, one.name).hover();
  await does(page, three, 'waiting', { seconds: 180, reason: 'asks longer' });
  await row(page, three.name).getByText('asks longer').waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.press('Escape');
  await page.evaluate(() => (location.hash = '#/?doing=waiting'));
  await until('both that wait', async () => (await names(page)).join() === [three.name, one.name].join());
});

test('a prompt goes to several at once, and is kept for those that it does not reach', async ({ open }) => {
  const all = [await create(LINES), await create(LINES)];
  const [first, second] = all as [(typeof all)[0], (typeof all)[0]];
  const page = await open();
  for (const { name } of all) {
    await row(page, name).getByText('ready').waitFor();
    await page.getByRole('checkbox', { name: `Choose ${name}`, exact: true }).check();
  }
  const box = page.getByRole('textbox', { name: 'Prompt for 2 agents' });
  await box.fill('hello both');
  await page.keyboard.press('Enter');
  for (const { name } of all) await row(page, name).getByText('got hello both').waitFor();
  await page.getByText('Sent to 2 agents.').waitFor();

  await page.route(`**/agents/${second.id}/input`, (route) =>
    route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify({ title: 'x', code: 'backend-unavailable', detail: 'it is away' }) }),
  );
  await box.fill('again');
  await page.keyboard.press('Enter');
  await row(page, first.name).getByText('got again').waitFor();
  await page.getByText(`${second.name}: it is away`).waitFor();
  // The one that has it is not among those any more that another try goes to.
  await page.getByRole('region', { name: 'Chosen agents' }).getByText('1 chosen').waitFor();
  expect(await page.getByRole('checkbox', { name: `Choose ${first.name}`, exact: true }).isChecked()).toBe(false);
  const left = page.getByRole('textbox', { name: `Prompt for ${second.name}` });
  expect(await left.inputValue()).toBe('again');
  // What was sent is gone back to, and what is being written is not lost by that.
  await left.fill('once more');
  await left.press('Home');
  for (const [arrow, shown] of [['ArrowUp', 'again'], ['ArrowUp', 'hello both'], ['ArrowDown', 'again'], ['ArrowDown', 'once more']] as const) {
    await left.press(arrow);
    await until(shown, async () => (await left.inputValue()) === shown);
  }
  // Nor does it wait for those that are chosen later.
  await page.getByRole('button', { name: 'Choose none' }).click();
  await page.getByRole('checkbox', { name: `Choose ${first.name}`, exact: true }).check();
  expect(await page.getByRole('textbox', { name: `Prompt for ${first.name}` }).inputValue()).toBe('');
});

test.runIf(keyboards)('one that waits is answered from the list, by single keys', async ({ open }) => {
  const made = await create(KEYS);
  const page = await open();
  await row(page, made.name).getByText('Proceed?').waitFor();
  expect(await page.getByRole('group', { name: `Keys for ${made.name}` }).count()).toBe(0);
  await does(page, made, 'waiting', { reason: 'asks whether to proceed' });
  const keys = page.getByRole('group', { name: `Keys for ${made.name}` });
  const said = row(page, made.name).locator('code');
  for (const [key, shown] of [['y', 'y'], ['Up', 'y^[[A'], ['Shift Tab', 'y^[[A^[[Z'], ['Esc', 'y^[[A^[[Z^[']] as const) {
    await keys.getByRole('button', { name: `${key} for ${made.name}`, exact: true }).click();
    await until(shown, async () => (await said.innerText()) === shown);
  }
  if (terminals) expect((await agent(made.id)).session?.size).toEqual({ cols: 80, rows: 24 });
  // Under the pointer they keep their place, and do nothing.
  const no = keys.getByRole('button', { name: `n for ${made.name}`, exact: true });
  await no.hover();
  const look = () => no.evaluate((element) => [getComputedStyle(element).color, getComputedStyle(element).cursor]);
  const before = await look();
  await does(page, made, 'working');
  await until('keys that do nothing', async () => (await no.getAttribute('aria-disabled')) === 'true');
  expect((await look())[0]).not.toBe(before[0]);
  expect((await look())[1]).toBe('default');
  await no.click({ force: true });
  await does(page, made, 'waiting');
  await keys.getByRole('button', { name: `y for ${made.name}`, exact: true }).click();
  await until('no key between', async () => (await said.innerText()) === 'y^[[A^[[Z^[y');
  // The keyboard stays in the row when the keys go.
  await no.focus();
  await does(page, made, 'working');
  await page.mouse.move(0, 0);
  await keys.waitFor({ state: 'detached' });
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(made.name);
});

describe.runIf(terminals)('with terminals', () => {
  test('two windows of different size: the other one says why', async ({ open }) => {
    const { id } = await create({ command: ['bash', '--norc', '--noprofile'], env: { PS1: '$ ', HISTFILE: '/dev/null' } });
    const large = await open(`#/agents/${id}`, { viewport: { width: 1300, height: 800 } });
    await untilLive(large);
    const small = await open(`#/agents/${id}`, { viewport: { width: 800, height: 600 } });
    await untilLive(small);
    await large.locator('.screen textarea').focus();
    await type(large, 'echo "one"" of us"');
    await untilShows(small, 'one of us');
    await small.getByText('as another window has it').waitFor();
    expect(await large.getByText('as another window has it').count()).toBe(0);
    await small.locator('.screen textarea').focus();
    await type(small, 'echo "the"" other"');
    await untilShows(large, 'the other');
    await large.getByText('as another window has it').waitFor();
    await small.getByText('as another window has it').waitFor({ state: 'detached' });
  });

  test('the grid shows letters that can be read, the end of a screen, and what was chosen', async ({ open }) => {
    const lines = await create({ command: ['sh', '-c', 'for i in $(seq 1 24); do printf "\\nrow $i"; done; read line'] });
    const other = await create(LINES);
    const third = await create(LINES);
    const page = await open('#/grid');
    const tile = (name: string) => page.getByRole('listitem', { name, exact: true });
    await tile(lines.name).locator('.xterm-rows').getByText('row 24').waitFor();
    const isInside = async (text: string) => {
      const box = await tile(lines.name).locator('.stage').boundingBox();
      const line = await tile(lines.name).locator('.xterm-rows > div').filter({ hasText: new RegExp(`^${text}\\s*$`) }).boundingBox();
      return box !== null && line !== null && line.y >= box.y - 1 && line.y + line.height <= box.y + box.height + 1;
    };
    await until('the last row', () => isInside('row 24'));
    expect(await isInside('row 2')).toBe(false);
    expect(await tile(lines.name).locator('.xterm-rows').evaluate((element) => getComputedStyle(element).fontSize)).toBe('12px');

    await page.getByRole('link', { name: 'Agents' }).click();
    for (const { name } of [lines, third]) await page.getByRole('checkbox', { name: `Choose ${name}`, exact: true }).check();
    await page.getByRole('region', { name: 'Chosen agents' }).getByRole('button', { name: 'Grid' }).click();
    await tile(third.name).waitFor();
    expect(await tile(other.name).count()).toBe(0);
    await page.getByRole('button', { name: `Take ${third.name} out of the grid` }).click();
    await page.reload();
    await tile(lines.name).waitFor();
    expect(await page.locator('.grid > li').count()).toBe(1);
    await tile(lines.name).locator('.xterm-rows').getByText('row 24').waitFor();

    for (let more = 0; more < 3; more += 1) await create(LINES);
    await page.getByRole('combobox', { name: 'Show' }).selectOption('running');
    await page.getByRole('combobox', { name: 'On a page' }).selectOption('4');
    await until('a page of four', async () => (await page.locator('.grid > li').count()) === 4);
    await page.getByRole('button', { name: 'On', exact: true }).click();
    await until('the rest', async () => (await page.locator('.grid > li').count()) === 2);
  });
});

test('everything is reached by its name, with the keyboard alone', async ({ open }) => {
  const one = await create(LINES);
  const two = await create(LINES);
  const page = await open();
  await row(page, two.name).waitFor();
  await page.keyboard.press('Control+k');
  const palette = page.getByRole('dialog', { name: 'Go to or do something' });
  const field = palette.getByRole('combobox');
  await field.waitFor();
  await page.keyboard.type('no such thing at all');
  await palette.getByText('Nothing is called so.').waitFor();
  await field.fill(one.name);
  const first = palette.getByRole('option', { selected: true });
  await until('the agent', async () => (await first.innerText()).startsWith(one.name));
  expect(await field.getAttribute('aria-activedescendant')).toBe(await first.getAttribute('id'));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: one.name, exact: true }).waitFor();
  if (terminals) {
    // Control K is the terminal's own.
    await untilLive(page);
    await page.locator('.screen textarea').focus();
    await page.keyboard.press('Control+Shift+k');
  } else {
    await page.keyboard.press('Control+k');
  }
  await field.fill('details');
  await page.keyboard.press('Enter');
  await page.getByRole('tab', { name: 'Details', selected: true }).waitFor();
  await page.keyboard.press('Control+k');
  await field.fill('stop');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: `Stop ${one.name}?` }).waitFor();
  await page.keyboard.press('Escape');

  await page.keyboard.press('Control+k');
  await field.fill('ui-');
  const options = palette.getByRole('option');
  await until('both', async () => (await options.count()) >= 1);
  await page.keyboard.press('Escape');
  await palette.waitFor({ state: 'detached' });

  await page.keyboard.press('Control+Shift+ArrowDown');
  await page.getByText('No agent waits.').waitFor();
  await does(page, one, 'waiting', { seconds: 10 });
  await does(page, two, 'waiting', { seconds: 20 });
  for (const { name } of [two, one, two]) {
    await page.keyboard.press('Control+Shift+ArrowDown');
    await page.getByRole('heading', { name, exact: true }).waitFor();
  }
  await page.getByRole('tab', { selected: true }).focus();
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keys' }).getByText('The next agent that waits').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
});

test('the other agents are beside the one that is looked at', async ({ open }) => {
  const one = await create(LINES);
  const two = await create(LINES);
  const page = await open(`#/agents/${one.id}/logs`, { viewport: { width: 1300, height: 800 } });
  const side = page.getByRole('navigation', { name: 'Agents' });
  await does(page, two, 'waiting', { seconds: 70 });
  await side.getByText(/^1m/).waitFor();
  await side.getByRole('link', { name: two.name }).click();
  await page.getByRole('heading', { name: two.name, exact: true }).waitFor();
  await page.getByRole('tab', { name: 'Logs', selected: true }).waitFor();
  // The keyboard stays where it is, on the way to the next one.
  await side.getByRole('link', { name: one.name }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: one.name, exact: true }).waitFor();
  expect(await page.evaluate(() => document.activeElement?.querySelector('.name')?.textContent)).toBe(one.name);
  await side.getByRole('link', { name: two.name }).click();
  await page.getByRole('heading', { name: two.name, exact: true }).waitFor();
  // What is not there is said beside them, at the top.
  await page.evaluate(() => (location.hash = '#/agents/none/logs'));
  const missing = await page.getByRole('heading', { name: 'No such agent' }).boundingBox();
  const list = await side.boundingBox();
  expect(missing?.x).toBeGreaterThanOrEqual((list?.x ?? 0) + (list?.width ?? 0));
  expect(missing?.y).toBeLessThan(120);
  await page.goBack();
  await page.getByRole('heading', { name: two.name, exact: true }).waitFor();
  await page.getByRole('button', { name: 'Other agents beside this one' }).click();
  await side.waitFor({ state: 'detached' });
  await page.reload();
  await page.getByRole('heading', { name: two.name, exact: true }).waitFor();
  expect(await side.count()).toBe(0);
});
