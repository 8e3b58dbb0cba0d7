import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect, test as base } from 'vitest';
import { removeAll, TOKEN, until, URL_BASE } from './service.ts';

/** A browser that looks for nothing outside this machine. */
export function launch(more: string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...more],
  });
}

type OnCleanup = (cleanup: () => Promise<void>) => void;

/** A browser that ends with what asked for it, and with it the agents that its tests have made. */
export async function launchFor(onCleanup: OnCleanup, more: string[] = []): Promise<Browser> {
  const browser = await launch(more);
  onCleanup(async () => {
    await removeAll();
    await browser.close();
  });
  return browser;
}

/** Tests that share the browser of their file. */
export const test = base.extend('browser', { scope: 'file' }, ({}, { onCleanup }) => launchFor(onCleanup));

/** Close what is open, of which nothing may have complained. */
export async function closeAll(browser: Browser): Promise<void> {
  for (const context of browser.contexts()) {
    for (const page of context.pages()) expect(complaintsOf(page)).toEqual([]);
    await context.close();
  }
}

/** What a page complained about: nothing, if all is well. */
const complaints = new WeakMap<Page, string[]>();

/** What a running agent may be said to do. */
export const RUNS = /^(Running|Working|Waiting|Idle)$/;

interface Options extends BrowserContextOptions {
  /** Before the page is opened. */
  prepare?(page: Page): Promise<unknown>;
}

export async function open(browser: Browser, path = '', { prepare = async () => {}, ...options }: Options = {}): Promise<Page> {
  // A test's certificate is known to nobody.
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'], ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  await prepare(page);
  const list: string[] = [];
  complaints.set(page, list);
  page.on('pageerror', (error) => list.push(`page error: ${error.message}`));
  page.on('console', (message) => {
    const text = message.text();
    if (text.includes('Content Security Policy') || text.includes('Content-Security-Policy')) list.push(text);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(URL_BASE) && !request.url().startsWith('blob:')) list.push(`request to ${request.url()}`);
  });
  await page.goto(`${URL_BASE}/${path}`);
  return page;
}

/** A page of somebody who has signed in. */
export async function signedIn(browser: Browser, path = '', options: Options = {}): Promise<Page> {
  const page = await open(browser, path, options);
  await page.getByLabel('Token').fill(TOKEN);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation', { name: 'Pages', exact: true }).waitFor();
  return page;
}

export function complaintsOf(page: Page): string[] {
  return complaints.get(page) ?? [];
}

interface Shown extends HTMLElement {
  terminal?: import('@xterm/xterm').Terminal;
}

/** The lines in the n-th terminal's buffer, scrollback and all. */
export function bufferOf(page: Page, index = 0): Promise<string[]> {
  return page.evaluate((at) => {
    const terminal = document.querySelectorAll<Shown>('.screen')[at]?.terminal;
    if (!terminal) return [];
    const { active } = terminal.buffer;
    const lines: string[] = [];
    for (let row = 0; row < active.length; row += 1) lines.push(active.getLine(row)?.translateToString().trimEnd() ?? '');
    return lines;
  }, index);
}

/** The lines that the n-th terminal shows now. */
export function screenOf(page: Page, index = 0): Promise<string[]> {
  return page.evaluate((at) => {
    const terminal = document.querySelectorAll<Shown>('.screen')[at]?.terminal;
    if (!terminal) return [];
    const { active } = terminal.buffer;
    return Array.from({ length: terminal.rows }, (_, row) => active.getLine(active.baseY + row)?.translateToString().trimEnd() ?? '');
  }, index);
}

export function untilShows(page: Page, text: string | RegExp, index = 0, ms = 20_000): Promise<string> {
  return until(`the terminal to show ${text}`, async () => {
    const all = (await bufferOf(page, index)).join('\n');
    return (typeof text === 'string' ? all.includes(text) : text.test(all)) ? all : null;
  }, ms);
}

export function untilLive(page: Page): Promise<void> {
  return page.locator('.chip.live').waitFor();
}

/** Until the clipboard, which the page fills in its own time, holds it. */
export function untilCopied(page: Page, text: string | RegExp): Promise<unknown> {
  return until(`${text} on the clipboard`, async () => {
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    return typeof text === 'string' ? copied === text : text.test(copied);
  });
}

/** A line of shell, typed into the terminal that has the focus. */
export async function type(page: Page, line: string): Promise<void> {
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}
