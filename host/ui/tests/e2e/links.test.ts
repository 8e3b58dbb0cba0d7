import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { complaintsOf, open, signedIn, test } from './browser.ts';
import { call, create, URL_BASE } from './service.ts';

interface Made {
  id: string;
  url: string;
}

const share = async (agent: string, body: object = {}): Promise<Made> => (await call('POST', `/agents/${agent}/links`, body)).json() as Promise<Made>;
const fragment = (link: Made): string => link.url.slice(link.url.indexOf('#'));
const ran = { command: ['sh', '-c', 'echo hello there; exec cat'] };

/** Whoever is at one agent's page sees nothing that leads elsewhere. */
async function sees(page: Page, name: string): Promise<void> {
  await page.getByRole('heading', { name, exact: true }).waitFor();
  expect(await page.getByRole('navigation', { name: 'Pages' }).count()).toBe(0);
  for (const action of ['Stop', 'Restart', 'Delete']) {
    expect(await page.getByRole('button', { name: `${action} ${name}` }).count()).toBe(0);
  }
}

/** Attack: the link to one agent is used for another one, or after it was taken back, and searched for in the browser. Then: refused, and it is kept nowhere. */
test('a link opens one agent and nothing else, until it is taken back', async ({ browser }) => {
  const agent = await create(ran);
  const other = await create(ran);
  const link = await share(agent.id);
  const page = await open(browser, fragment(link));
  await sees(page, agent.name);
  expect(page.url()).not.toContain('agt_');
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie)).not.toContain('agt_');
  await page.getByRole('tab', { name: 'Logs' }).click();
  await page.getByText('hello there').first().waitFor();
  await page.getByRole('tab', { name: 'Details' }).click();
  await page.getByText(agent.id).waitFor();
  expect(await page.getByLabel('Add labels').count()).toBe(0);
  await page.goto(`${URL_BASE}/#/agents/${other.id}`);
  await sees(page, agent.name);
  await page.reload();
  await sees(page, agent.name);

  await call('DELETE', `/agents/${agent.id}/links/${link.id}`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  const late = await open(browser, fragment(link));
  await late.getByText('That link has expired or was taken back.').waitFor();
  expect(complaintsOf(page)).toEqual([]);
  await page.context().close();
  await late.context().close();
});

test('a link in one tab leaves the others signed in as they are', async ({ browser }) => {
  const agent = await create(ran);
  const page = await signedIn(browser);
  const tab = await page.context().newPage();
  await tab.goto(`${URL_BASE}/${fragment(await share(agent.id))}`);
  await sees(tab, agent.name);
  await page.reload();
  await page.getByRole('button', { name: 'New agent' }).waitFor();
  await tab.getByRole('button', { name: 'Sign out' }).click();
  await page.reload();
  await page.getByRole('button', { name: 'New agent' }).waitFor();
  await page.context().close();
});

test('a token to look shows no button that it does not allow', async ({ browser }) => {
  const agent = await create(ran);
  const name = `look-${process.pid}-${Date.now()}`;
  const made = (await (await call('POST', '/tokens', { name, scope: 'read' })).json()) as { id: string; token: string };
  const page = await open(browser);
  await page.getByLabel('Token').fill(made.token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  await page.getByRole('link', { name: agent.name, exact: true }).waitFor();
  for (const button of ['New agent', `Stop ${agent.name}`]) {
    expect(await page.getByRole('button', { name: button }).count()).toBe(0);
  }
  await call('DELETE', `/tokens/${made.id}`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  expect(complaintsOf(page)).toEqual([]);
  await page.context().close();
});
