import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect } from 'vitest';
import { bufferOf, closeAll, launchFor, open, screenOf, signedIn, test as browserTest, type, untilCopied, untilLive, untilShows } from './browser.ts';
import { Network } from './cut.ts';
import { agent, call, create, DIRECTORY, info, remove, until, URL_BASE } from './service.ts';

const { capabilities } = await info();
const SHELL = { command: ['bash', '--norc', '--noprofile'], env: { PS1: '$ ', HISTFILE: '/dev/null' } };

/** The page of an agent's terminal, in a browser whose network can be cut. */
const test = browserTest
  .extend('network', { scope: 'file' }, async ({}, { onCleanup }) => {
    const network = await Network.open();
    onCleanup(() => network.close());
    return network;
  })
  .extend('browser', { scope: 'file' }, ({ network }, { onCleanup }) => launchFor(onCleanup, [network.rule]))
  .extend('terminal', ({ browser }, { onCleanup }) => {
    onCleanup(() => closeAll(browser));
    return async (id: string, options: Parameters<typeof signedIn>[2] = {}): Promise<Page> => {
      const page = await signedIn(browser, `#/agents/${id}/terminal`, { viewport: { width: 1100, height: 700 }, ...options });
      await untilLive(page);
      return page;
    };
  });

/** In the page: sockets end with `code`, and only after the event `let-end`. */
function endLate(code: number): void {
  const on = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onclose');
  const ended = new Promise((resolve) => addEventListener('let-end', resolve));
  Object.defineProperty(WebSocket.prototype, 'onclose', {
    set(heard: ((event: { code: number }) => void) | null) {
      on?.set?.call(this, heard && (() => void ended.then(() => heard({ code }))));
    },
  });
}

const focus = (page: Page) => page.locator('.screen textarea').focus();

/** A command that takes the keys: the shell has let go of the terminal when it is ready. */
async function runs(page: Page, command: string): Promise<void> {
  await focus(page);
  await type(page, `echo "rea""dy"; ${command}`);
  await untilShows(page, /^ready$/m);
}

describe.runIf(capabilities.includes('terminal'))('the terminal', () => {
  test('a command is typed and its output read', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await type(page, 'echo $((6 * 7)) grüße 日本語 🎉');
    await untilShows(page, '42 grüße 日本語 🎉');
  });

  test('the last screen of an earlier run is shown', async ({ terminal }) => {
    const made = await create({ command: ['sh', '-c', 'echo started at $(date +%s%N); read line'] });
    const page = await terminal(made.id);
    await untilShows(page, /^started at /m);
    const started = async () => (await screenOf(page)).find((line) => line.startsWith('started at'));
    const first = await started();
    await call('POST', `/agents/${made.id}/restart`);
    await until('the new run', async () => ![undefined, first].includes(await started()));

    const runs = page.getByRole('combobox', { name: 'Run' });
    await runs.selectOption({ index: 1 });
    await until('the earlier run', async () => (await started()) === first);
    await runs.selectOption({ label: 'Newest run' });
    await untilLive(page);
    await until('the newest run', async () => ![undefined, first].includes(await started()));
  });

  for (const [code, what] of [[4000, 'an end'], [4004, 'a deletion']] as const) {
    // The events and the terminal come on two connections, so that either may be first.
    test(`the new run is shown when the old one's end comes late, as ${what}`, async ({ terminal }) => {
      const made = await create({ command: ['sh', '-c', 'echo started at $(date +%s%N); read line'] });
      const page = await terminal(made.id, { prepare: (page) => page.addInitScript(endLate, code) });
      await untilShows(page, /^started at /m);
      const started = async () => (await screenOf(page)).find((line) => line.startsWith('started at'));
      const first = await started();
      await call('POST', `/agents/${made.id}/restart`);
      await page.getByRole('combobox', { name: 'Run' }).waitFor();
      expect(await started()).toBe(first);
      await page.evaluate(() => dispatchEvent(new Event('let-end')));
      await until('the new run', async () => ![undefined, first].includes(await started()));
    });
  }

  test('vim edits a file', async ({ terminal }) => {
    const file = join(mkdtempSync(join(DIRECTORY, 'agentd-ui-')), 'note.txt');
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await type(page, `vim -u NONE -i NONE -n ${file}`);
    await until('vim', async () => (await screenOf(page)).filter((line) => line === '~').length > 5);
    await page.keyboard.type('ihello from the page');
    await page.keyboard.press('Escape');
    await page.keyboard.type(':wq');
    await page.keyboard.press('Enter');
    await until('the file', async () => readText(file) === 'hello from the page\n');
  });

  test('reloading in the middle of a full-screen program shows the same screen', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await type(page, 'htop --no-mouse');
    await until('htop', async () => (await screenOf(page)).some((line) => line.includes('F10')));
    // Paused, its figures stay what they are.
    await page.keyboard.press('Z');
    await until('the pause', async () => (await screenOf(page)).some((line) => line.includes('PAUSED')));
    const before = await screenOf(page);
    await page.reload();
    await untilLive(page);
    await until('the same screen', async () => JSON.stringify(await screenOf(page)) === JSON.stringify(before));
    expect(await page.evaluate(() => document.querySelector<HTMLElement & { terminal?: { buffer: { active: { type: string } } } }>('.screen')?.terminal?.buffer.active.type)).toBe('alternate');
    await focus(page);
    await page.keyboard.press('q');
    await untilShows(page, /[$#]$/m);
  });

  test('a network that is away for 5 s loses nothing', async ({ terminal, network }) => {
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await type(page, 'clear; for i in $(seq 1 80); do echo "n$i."; sleep 0.1; done; echo "all"" told"');
    await untilShows(page, 'n10.');
    network.cut();
    try {
      await page.locator('.chip.lost').waitFor();
      await page.getByText('Reconnecting').first().waitFor();
      await new Promise((resolve) => setTimeout(resolve, 5000)); // what is tested is this very time
    } finally {
      network.mend();
    }
    await untilLive(page);
    const text = await untilShows(page, 'all told');
    const numbers = [...text.matchAll(/^n(\d+)\.$/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual(Array.from({ length: 80 }, (_, index) => index + 1));
    await focus(page);
    await type(page, 'echo "and"" on"');
    await untilShows(page, 'and on');
  });

  test('two browsers see the same screen, and one that only watches cannot type', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const one = await terminal(id);
    const two = await terminal(id);
    await focus(one);
    await type(one, 'printf "\\033[2J\\033[5;10Hhere\\n"');
    await untilShows(one, '         here');
    await until('the same screen', async () => JSON.stringify(await screenOf(one)) === JSON.stringify(await screenOf(two)));

    await two.getByRole('button', { name: 'Only watch' }).click();
    await two.getByText('Live, watching').waitFor();
    await focus(two);
    await type(two, 'echo "never"" seen"');
    await focus(one);
    await type(one, 'echo "but"" this"');
    await untilShows(two, 'but this');
    expect((await bufferOf(two)).join('\n')).not.toContain('never');
    await two.getByRole('button', { name: 'Only watch' }).click();
    await two.locator('.chip.live').filter({ hasNotText: 'watching' }).waitFor();
    await focus(two);
    await type(two, 'echo "now"" heard"');
    await untilShows(one, 'now heard');
  });

  test('the window gives the size, and a change of it is followed', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const page = await terminal(id);
    const wide = await until('a size', async () => {
      const size = (await agent(id)).session?.size;
      return size && size.cols > 100 ? size : null;
    });
    await page.setViewportSize({ width: 700, height: 500 });
    await until('a smaller one', async () => ((await agent(id)).session?.size.cols ?? 999) < wide.cols - 20);
    await runs(page, 'while sleep 0.1; do tput cols; done');
    await until('the same size in the program', async () => {
      const said = (await bufferOf(page)).findLast((line) => line !== '');
      return Number(said) === (await agent(id)).session?.size.cols;
    });
  });

  test('a phone does not resize what somebody else looks at, and has the keys it lacks', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const desk = await terminal(id);
    const size = await until('a size', async () => {
      const session = (await agent(id)).session;
      return session && session.size.cols > 100 && session.viewers > 0 ? session.size : null;
    });
    const phone = await terminal(id, { viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true });
    await runs(desk, 'cat -v');
    await untilShows(phone, /^ready$/m);
    const keys = phone.getByRole('toolbar', { name: 'Keys' });
    await phone.locator('.screen').tap();
    await keys.getByRole('button', { name: 'Esc' }).tap();
    await keys.getByRole('button', { name: 'Up', exact: true }).tap();
    await keys.getByRole('button', { name: 'Tab', exact: true }).tap();
    await phone.keyboard.type('x');
    await phone.keyboard.press('Enter');
    await untilShows(desk, /\^\[\^\[\[A\s+x/);
    await keys.getByRole('button', { name: 'Ctrl' }).tap();
    await phone.keyboard.insertText('c');
    await untilShows(desk, /\^C[\s\S]*[$#]$/m);
    expect((await agent(id)).session?.size).toEqual(size);
  });

  test('the end is shown, and the program can be started again from there', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const page = await terminal(id);
    await focus(page);
    await type(page, 'echo "last"" words"; exit 3');
    await page.locator('.exit-bar').getByText('exited with code 3').waitFor();
    await untilShows(page, 'last words');
    await page.locator('.exit-bar').getByRole('button').click();
    await untilLive(page);
    await page.locator('.exit-bar').waitFor({ state: 'detached' });
    await until('a fresh screen', async () => !(await screenOf(page)).join('\n').includes('last words'));
    await focus(page);
    await type(page, 'echo "once"" more"');
    await untilShows(page, 'once more');
  });

  test('an agent that ended before is shown with its last screen', async ({ browser }) => {
    const { id } = await create({ command: ['sh', '-c', 'echo farewell; exit 0'] });
    await until('the end', async () => (await agent(id)).status === 'stopped');
    const page = await signedIn(browser, `#/agents/${id}`);
    await page.locator('.exit-bar').getByText('exited with code 0').waitFor();
    await untilShows(page, 'farewell');
  });

  test('an agent that is deleted says so', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const page = await terminal(id);
    await remove(id);
    await page.getByText(/has been deleted|No such agent/).first().waitFor();
  });

  /** Attack: a program asks the terminal in the page. Then: the page answers nothing, so nothing is typed for the person. */
  test('questions of the program are not answered by the page', async ({ terminal }) => {
    // Without a daemon that answers, nothing at all may come back from two pages.
    const { id } = await create(SHELL);
    const one = await terminal(id);
    await terminal(id);
    await focus(one);
    await type(one, `stty raw -echo; printf '\\033[c\\033[c\\033[c'; dd bs=1 count=200 2>/dev/null & sleep 1; kill $!; stty sane; wait; echo; echo "do""ne"`);
    const text = await untilShows(one, 'done');
    // Each question has one answer at most, whatever the number of viewers.
    expect((text.match(/\[\?[\d;]+c/g) ?? []).length).toBeLessThanOrEqual(3);
  });

  /** Attack: text that is pasted in the page has the end of a paste in it. Then: it is removed. */
  test('pasting is bracketed where the program asked for it, and cannot be broken out of', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await type(page, `printf '\\033[?2004h'; echo "rea""dy"; cat -v`);
    await untilShows(page, /^ready$/m);
    await page.evaluate(() => navigator.clipboard.writeText('one\u001b[201~two'));
    // Once as the terminal's echo, once more as what cat read.
    const seen = (times: number) =>
      until(`${times} of them`, async () => ((await bufferOf(page)).join('\n').match(/\^\[\[200~onetwo\^\[\[201~/g) ?? []).length === times);
    await page.getByRole('button', { name: 'Paste' }).click();
    await seen(1);
    await page.keyboard.press('Enter');
    await seen(2);
    await page.keyboard.press('Control+Shift+V');
    await seen(3);
    await page.keyboard.press('Enter');
    await seen(4);
  });

  test('text is selected and copied, and found', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await type(page, 'for i in $(seq 1 300); do echo "row $i of them"; done');
    await untilShows(page, 'row 300 of them');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('searchbox', { name: 'Search the terminal' }).fill('row 17 of');
    await page.getByText('1 of 1').waitFor();
    await page.getByRole('button', { name: 'Copy what is selected' }).click();
    await untilCopied(page, 'row 17 of');
  });

  /** Attack: a program reads the clipboard of the browser. Then: it gets nothing. */
  test('a program offers text for the clipboard and never reads it', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await page.evaluate(() => navigator.clipboard.writeText('private'));
    await focus(page);
    await type(page, `printf '\\033]52;c;?\\007'; printf '\\033]52;c;%s\\007' "$(printf offered | base64)"; cat -v`);
    await page.getByText('would like to copy 7 characters').waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('private');
    await page.getByRole('button', { name: 'Copy', exact: true }).click();
    await untilCopied(page, 'offered');
    expect((await bufferOf(page)).join('\n')).not.toContain(Buffer.from('private').toString('base64'));
  });

  /** Attack: a program shows hyperlinks with `javascript:`, `file:` and other schemes. Then: they do not open. */
  test('links open elsewhere, and only those of the web', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await page.context().route(/example\.test/, (route) => route.fulfill({ body: 'ok' }));
    await focus(page);
    await type(page, `clear; printf '\\033]8;;javascript:alert(1)\\033\\\\bad-link\\033]8;;\\033\\\\\\n'; echo http://example.test/page`);
    await untilShows(page, /^http:\/\/example\.test\/page$/m);
    const at = async (text: string) => {
      const row = (await screenOf(page)).findIndex((line) => line.startsWith(text));
      const box = await page.locator('.xterm-screen').boundingBox();
      const rows = (await screenOf(page)).length;
      if (!box || row < 0) throw new Error(`no ${text} on the screen`);
      return { x: box.x + 20, y: box.y + ((row + 0.5) * box.height) / rows };
    };
    const dialogs: string[] = [];
    page.on('dialog', (dialog) => {
      dialogs.push(dialog.message());
      void dialog.dismiss();
    });
    const bad = await at('bad-link');
    await page.mouse.move(bad.x, bad.y);
    await page.mouse.click(bad.x, bad.y);
    const good = await at('http');
    await page.mouse.move(good.x, good.y);
    await page.locator('.address').getByText('http://example.test/page').waitFor();
    const [opened] = await Promise.all([page.context().waitForEvent('page'), page.mouse.click(good.x, good.y)]);
    expect(opened.url()).toContain('http://example.test/page');
    expect(await opened.evaluate(() => window.opener)).toBeNull();
    await opened.close();
    expect(dialogs).toEqual([]);
    expect(page.context().pages()).toHaveLength(1);
  });

  test('the mouse reaches a program that asked for it', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await runs(page, `printf '\\033[?1000h\\033[?1006hasked\\n'; cat -v`);
    await untilShows(page, /^asked$/m);
    await page.locator('.xterm-screen').click({ position: { x: 4, y: 4 } });
    await page.keyboard.press('Enter');
    await untilShows(page, '^[[<0;1;1M^[[<0;1;1m');
  });

  test('text composed by an input method arrives once', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await runs(page, 'cat');
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Input.imeSetComposition', { text: 'にほ', selectionStart: 2, selectionEnd: 2 });
    await cdp.send('Input.imeSetComposition', { text: 'にほん', selectionStart: 3, selectionEnd: 3 });
    await cdp.send('Input.insertText', { text: '日本' });
    await until('the text', async () => (await screenOf(page)).some((line) => line.includes('日本')));
    expect((await screenOf(page)).join('\n').match(/日本/g)).toHaveLength(1);
    expect((await screenOf(page)).join('\n')).not.toContain('にほ');
  });

  test('the keyboard is not trapped in the terminal', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await focus(page);
    await page.keyboard.press('Control+Shift+ArrowUp');
    expect(await page.evaluate(() => document.activeElement?.closest('[role=toolbar]') !== null)).toBe(true);
  });

  test('the font size is changed, and the choice is kept', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const page = await terminal(id);
    const cols = async () => (await agent(id)).session?.size.cols ?? 0;
    const before = await until('a size', async () => (await cols()) > 100 && cols());
    await page.getByRole('button', { name: 'Larger letters' }).click();
    await page.getByRole('button', { name: 'Larger letters' }).click();
    await until('fewer columns', async () => (await cols()) < before);
    await page.reload();
    await untilLive(page);
    expect(await page.evaluate(() => localStorage.getItem('agentd-font'))).toBe('16');
  });

  test('WebGL is used where it is asked for, and falls back by itself', async ({ terminal }) => {
    const page = await terminal((await create(SHELL)).id);
    await page.evaluate(() => localStorage.setItem('agentd-drawing', '"webgl"'));
    await page.reload();
    await untilLive(page);
    const canvas = page.locator('.xterm-screen > canvas:not(.xterm-link-layer)').first();
    await canvas.waitFor();
    await focus(page);
    await type(page, 'echo "dr""awn"');
    await untilShows(page, 'drawn');
    await canvas.evaluate((element: HTMLCanvasElement) => element.getContext('webgl2')?.getExtension('WEBGL_lose_context')?.loseContext());
    await canvas.waitFor({ state: 'detached' });
    await page.locator('.xterm-rows').getByText('drawn').first().waitFor();
  });

  /** Attack: a page of another port of the machine, in a browser that is signed in, fetches, posts blindly, and opens a terminal with a stolen ticket. Then: refused, and nothing is typed. */
  test('a page of another origin can open nothing', async ({ terminal }) => {
    const { id } = await create(SHELL);
    const page = await terminal(id);
    const ticket = await page.evaluate(async () => {
      const headers = { 'Agentd-Key': localStorage.getItem('agentd-key') ?? '' };
      return ((await (await fetch('/tickets', { method: 'POST', headers })).json()) as { ticket: string }).ticket;
    });
    const server = createServer((_, response) => response.end('<title>foreign</title>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    // The same machine, the same cookies, another port; in the same browser that is signed in.
    const foreign = await page.context().newPage();
    await foreign.goto(`http://${new URL(URL_BASE).hostname}:${port}/`);
    const socket = await foreign.evaluate(
      (url) =>
        new Promise<string>((resolve) => {
          const opened = new WebSocket(url);
          opened.onopen = () => resolve('open');
          opened.onerror = () => resolve('refused');
        }),
      `${URL_BASE.replace('http', 'ws')}/agents/${id}/terminal?ticket=${ticket}`,
    );
    expect(socket).toBe('refused');
    const fetched = await foreign.evaluate(async (base) => {
      const tries = ['/agents', '/tickets', '/login/codes'].map((path) =>
        fetch(base + path, { method: path === '/agents' ? 'GET' : 'POST', credentials: 'include' }).then(
          (response) => `${path}: ${response.status}`,
          () => 'refused',
        ),
      );
      return Promise.all(tries);
    }, URL_BASE);
    expect(fetched).toEqual(['refused', 'refused', 'refused']);
    const blind = await foreign.evaluate(
      (url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"text":"touch /tmp/pwned","submit":true}' }).then(() => 'sent'),
      `${URL_BASE}/agents/${id}/input`,
    );
    expect(blind).toBe('sent');
    // What is typed now comes after it, had it come.
    await focus(page);
    await type(page, 'echo "af""ter"');
    expect(await untilShows(page, /^after$/m)).not.toContain('pwned');
    await foreign.close();
    server.close();
  });
});

describe.runIf(!capabilities.includes('terminal'))('without a terminal', () => {
  test('a link to a terminal leads to the logs', async ({ browser }) => {
    const { id } = await create({ command: ['sh', '-c', 'echo here; read line'] });
    const page = await signedIn(browser, `#/agents/${id}/terminal`);
    await page.getByRole('tab', { name: 'Logs', selected: true }).waitFor();
    expect(await page.getByRole('tab', { name: 'Terminal' }).count()).toBe(0);
    await page.locator('.line').filter({ hasText: 'here' }).first().waitFor();
  });
});

test('without a sign-in there is no way in', async ({ browser }) => {
  const page = await open(browser);
  const answers = await page.evaluate(() =>
    Promise.all(['/agents', '/backend', '/events'].map(async (path) => (await fetch(path)).status)),
  );
  expect(answers).toEqual([401, 401, 401]);
  expect((await call('GET', '/agents')).status).toBe(200);
});

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
