import type { Request, Route } from 'playwright-core';
import { expect } from 'vitest';
import { complaintsOf, open, signedIn, test } from './browser.ts';
import { code, TOKEN, until, URL_BASE } from './service.ts';

test('a person without a link sees one field, and the token is in no address', async ({ browser }) => {
  const page = await open(browser);
  const requests: Request[] = [];
  page.on('request', (request) => requests.push(request));
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  expect(await page.locator('input').count()).toBe(1);
  await page.getByLabel('Token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('That is not the token.').waitFor();
  await page.getByLabel('Token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  expect(requests.map((request) => request.url()).filter((url) => url.includes(TOKEN))).toEqual([]);
  expect(await page.evaluate(() => JSON.stringify(localStorage) + document.cookie)).not.toContain(TOKEN);
  expect(complaintsOf(page)).toEqual([]);
  await page.context().close();
});

/** Attack: a sign-in link is used again, or found in the address. Then: it signs nobody in, and is not there. */
test('a link with a one-time code signs in, once, and leaves no trace', async ({ browser }) => {
  const once = await code();
  const page = await open(browser, `#code=${once}`);
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  expect(page.url()).not.toContain(once);
  await page.reload();
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();

  const other = await open(browser, `#code=${once}`);
  await other.getByText('has been used or is too old').waitFor();
  expect(other.url()).not.toContain(once);
  // Whoever is signed in already is not sent away by an old link.
  await page.goto(`${URL_BASE}/#code=${once}`);
  await page.reload();
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  await page.context().close();
  await other.context().close();
});

test('a sign-in that is faster than the page keeps its effect', async ({ browser }) => {
  const page = await open(browser, 'favicon.svg');
  const held: Route[] = [];
  let isHeld = true;
  await page.route('**/info', (route) => void (isHeld ? held.push(route) : route.continue()));
  await page.goto(`${URL_BASE}/`);
  await page.getByLabel('Token').fill(TOKEN);
  const [answer] = await Promise.all([page.waitForResponse('**/login'), page.getByRole('button', { name: 'Sign in' }).click()]);
  expect(answer.status()).toBe(204);
  await page.getByRole('navigation', { name: 'Pages' }).waitFor();
  await until('the question', async () => held.length > 0);
  isHeld = false;
  await Promise.all(held.map((route) => route.continue()));
  await page.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  expect(await page.getByLabel('Token').count()).toBe(0);
  await page.context().close();
});

test('an expired link is reported as such, also in a browser whose sign-in has ended', async ({ browser }) => {
  const page = await signedIn(browser);
  await page.context().clearCookies();
  await page.goto(`${URL_BASE}/#code=0000`);
  await page.reload();
  await page.getByText('has been used or is too old').waitFor();
  await page.context().close();
});

/** Attack: one half of the browser's sign-in. Then: 401. */
test('the cookie alone, or the key alone, opens nothing', async ({ browser }) => {
  const page = await signedIn(browser);
  const status = (header: Record<string, string>) =>
    page.evaluate(async (headers) => (await fetch('/agents', { headers })).status, header);
  const key = await page.evaluate(() => localStorage.getItem('agentd-key') ?? '');
  expect(key).not.toBe('');
  expect(await status({})).toBe(401);
  expect(await status({ 'Agentd-Key': key })).toBe(200);
  await page.context().clearCookies();
  expect(await status({ 'Agentd-Key': key })).toBe(401);
  await page.context().close();
});

test('signing out ends it', async ({ browser }) => {
  const page = await signedIn(browser);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.context().close();
});

/** Attack: another tab goes on after a sign-out. Then: it is signed out. */
test('signing out in one tab ends another one, too', async ({ browser }) => {
  const page = await signedIn(browser);
  const other = await page.context().newPage();
  await other.goto(`${URL_BASE}/`);
  await other.getByRole('heading', { name: 'Agents', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await other.getByRole('heading', { name: 'Sign in' }).waitFor();
  // The other tab may learn of it before the answer is here.
  await until('no cookie', async () => (await page.context().cookies()).length === 0);
  await page.context().close();
});
