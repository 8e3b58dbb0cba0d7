import { readFileSync } from 'node:fs';
import { describe } from 'vitest';
import { signedIn, test, type, untilLive, untilShows } from './browser.ts';
import { isWithin, longestFreeze, quantile, report, watchFreezes } from './measure.ts';
import { call, create, DIRECTORY, info, removeAll, until } from './service.ts';

const { capabilities } = await info();
const SHELL = { command: ['bash', '--norc', '--noprofile'] };
/** Megabytes of output; the figure that counts is that of `npm run measure`. */
const MEGABYTES = Number(process.env.AGENTD_E2E_MEGABYTES ?? 20);

interface Shown extends HTMLElement {
  terminal: import('@xterm/xterm').Terminal;
}

describe.runIf(capabilities.includes('terminal'))('measured', () => {
  test('the time until the first paint of a terminal', async ({ browser }) => {
    const page = await signedIn(browser, `#/agents/${(await create(SHELL)).id}/terminal`);
    const times: number[] = [];
    for (let run = 0; run < 7; run += 1) {
      await page.reload();
      times.push(await until('the paint', () => page.evaluate(() => performance.getEntriesByName('terminal-painted')[0]?.startTime ?? 0)));
    }
    report('first terminal paint after navigation', { p50_ms: quantile(times, 0.5), max_ms: Math.max(...times) });
    isWithin(1000, quantile(times, 0.5));
    await page.context().close();
  });

  test('the time until the first paint of a list of 200 agents', async ({ browser }) => {
    await removeAll();
    for (let index = 0; index < 200; index += 1) await create({ command: ['sleep', '1000000'] });
    const page = await signedIn(browser, '', {
      prepare: (made) =>
        made.addInitScript(() => {
          // The frame after the one in which the rows are there is painted with them.
          const look = () => {
            if (document.querySelectorAll('li.agent').length > 0) requestAnimationFrame(() => performance.mark('list-painted'));
            else requestAnimationFrame(look);
          };
          requestAnimationFrame(look);
        }),
    });
    const times: number[] = [];
    for (let run = 0; run < 7; run += 1) {
      await page.reload();
      times.push(await until('the paint', () => page.evaluate(() => performance.getEntriesByName('list-painted')[0]?.startTime ?? 0)));
    }
    report('first paint of a list of 200 agents after navigation', { p50_ms: quantile(times, 0.5), max_ms: Math.max(...times) });
    isWithin(1000, quantile(times, 0.5));
    await page.context().close();
    await removeAll();
  }, 120_000);

  test('the time from a bell to the event and to the notification', async ({ browser }) => {
    // A bell that comes soon after a key is an answer to it and does not count.
    const script = `while read -r line; do sleep 2; date +%s%3N >rang-$line; printf '\\a'; done`;
    const { id, name } = await create({ command: ['sh', '-c', script] });
    const page = await signedIn(browser, '', {
      permissions: ['notifications'],
      prepare: (made) =>
        made.addInitScript(() => {
          const notified: number[] = [];
          class Shown {
            static permission = 'granted';
            static requestPermission = async () => 'granted';
            constructor() {
              notified.push(Date.now());
            }
            close() {}
          }
          Object.assign(window, { Notification: Shown, notified });
        }),
    });
    await page.getByRole('link', { name, exact: true }).waitFor();
    await page.getByRole('button', { name: 'Notify me when an agent waits' }).click();
    const notified = () => page.evaluate(() => (window as unknown as { notified: number[] }).notified);
    const events: number[] = [];
    const { body } = await call('GET', '/events');
    const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
    const listen = (async () => {
      let text = '';
      for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
        text += part.value;
        const whole = text.split('\n\n');
        text = whole.pop() ?? '';
        if (whole.some((event) => event.includes('event:activity') && event.includes(id) && event.includes('"waiting"'))) events.push(Date.now());
      }
    })();
    const [toEvent, toNotification]: [number[], number[]] = [[], []];
    for (let run = 0; run < 5; run += 1) {
      await call('POST', `/agents/${id}/input`, { text: `${run}` });
      await until('the event and the notification', async () => events.length > run && (await notified()).length > run);
      const rang = Number(readFileSync(`${DIRECTORY}/rang-${run}`, 'utf8'));
      toEvent.push((events[run] ?? 0) - rang);
      toNotification.push(((await notified())[run] ?? 0) - rang);
    }
    await reader?.cancel();
    await listen;
    report('bell to event', { p50_ms: quantile(toEvent, 0.5), max_ms: Math.max(...toEvent) });
    report('bell to notification', { p50_ms: quantile(toNotification, 0.5), max_ms: Math.max(...toNotification) });
    isWithin(1000, quantile(toNotification, 0.5));
    await page.context().close();
  }, 120_000);

  test('the time from a key to its paint, beside the echo on the socket', async ({ browser }) => {
    const { id } = await create({ command: ['sh', '-c', 'stty raw -echo; cat'] });
    const page = await signedIn(browser, `#/agents/${id}/terminal`);
    await untilLive(page);
    await page.locator('.screen textarea').focus();
    await page.evaluate(() => {
      const { terminal } = document.querySelector<Shown>('.screen') as Shown;
      const state = { at: 0, times: [] as number[] };
      Object.assign(window, { keys: state });
      addEventListener('keydown', (event) => (state.at = event.timeStamp), { capture: true });
      terminal.onRender(() => {
        if (state.at > 0) state.times.push(performance.now() - state.at);
        state.at = 0;
      });
    });
    const count = () => page.evaluate(() => (window as unknown as { keys: { times: number[] } }).keys.times.length);
    for (let key = 0; key < 120; key += 1) {
      const before = await count();
      await page.keyboard.press('abcdefghij'.charAt(key % 10));
      await until('the paint', async () => (await count()) > before);
    }
    const times = await page.evaluate(() => (window as unknown as { keys: { times: number[] } }).keys.times);

    const echoes = await page.evaluate(async (agent) => {
      const headers = { 'Agentd-Key': localStorage.getItem('agentd-key') ?? '' };
      const { ticket } = (await (await fetch('/tickets', { method: 'POST', headers })).json()) as { ticket: string };
      const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/agents/${agent}/terminal?ticket=${ticket}&ack=1`);
      socket.binaryType = 'arraybuffer';
      let heard: () => void = () => {};
      let expected = -1;
      let ready: () => void = () => {};
      const hello = new Promise<void>((resolve) => (ready = resolve));
      socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
        if (typeof data === 'string') return void (data.includes('"hello"') && ready());
        if (new Uint8Array(data).at(-1) === expected) heard();
      };
      await hello;
      const result: number[] = [];
      for (let index = 0; index < 200; index += 1) {
        expected = 0x41 + (index % 26);
        const answer = new Promise<void>((resolve) => (heard = resolve));
        const start = performance.now();
        socket.send(new Uint8Array([expected]));
        await answer;
        result.push(performance.now() - start);
      }
      socket.close();
      return result;
    }, id);
    report('key to paint', { p50_ms: quantile(times, 0.5), p99_ms: quantile(times, 0.99), socket_echo_p50_ms: quantile(echoes, 0.5) });
    isWithin(50, quantile(times, 0.5));
    await page.context().close();
  });

  test(`${MEGABYTES} MB of output do not freeze the page`, async ({ browser }) => {
    const page = await signedIn(browser, `#/agents/${(await create(SHELL)).id}/terminal`);
    await untilLive(page);
    await page.locator('.screen textarea').focus();
    await watchFreezes(page);
    const start = Date.now();
    const count = MEGABYTES * 1_000_000;
    await type(page, `seq -f 'line %9.0f of many, with some \x1b[32mcolour\x1b[0m in it' 1 100000000 | head -c ${count}; echo; echo "all"" told"`);
    await untilShows(page, 'all told', 0, 300_000);
    report(`${MEGABYTES} MB through the page`, { seconds: (Date.now() - start) / 1000, longest_task_ms: await longestFreeze(page) });
    isWithin(100, await longestFreeze(page));
    await page.context().close();
  }, 600_000);

  test('sixteen terminals that flood stay usable', async ({ browser }) => {
    await removeAll();
    // Each terminal is a group of its own to the scheduler (sched(7)), among which a nice value says nothing.
    const leaveRoom = 'echo 19 2>/dev/null >/proc/self/autogroup';
    const flood = { command: ['nice', '-n', '19', 'sh', '-c', `${leaveRoom}; i=0; while :; do i=$((i+1)); echo "line $i of a flood that does not end"; done`] };
    const quiet = await create(SHELL);
    for (let index = 0; index < 15; index += 1) await create(flood);
    const page = await signedIn(browser, '#/grid', {
      viewport: { width: 1600, height: 1000 },
      prepare: (made) => made.addInitScript(() => localStorage.setItem('agentd-grid-page', '16')),
    });
    await until('sixteen terminals', async () => (await page.locator('.tile .xterm-rows, .tile canvas').count()) >= 16);
    const tiles = page.locator('.grid li');
    const names = await tiles.evaluateAll((items) => items.map((item) => item.getAttribute('aria-label')));
    const index = names.indexOf(quiet.name);
    await untilShows(page, /[$#]/, index);
    await watchFreezes(page);
    await tiles.nth(index).locator('textarea').focus();
    const times: number[] = [];
    for (let run = 0; run < 10; run += 1) {
      const start = Date.now();
      await type(page, `echo "an""swer ${run}"`);
      await untilShows(page, `answer ${run}`, index);
      times.push(Date.now() - start);
    }
    // All of them go on, not only the one in use.
    const shown = async (at: number) => (await page.evaluate((tile) => {
      const { terminal } = document.querySelectorAll<Shown>('.screen')[tile] as Shown;
      return terminal.buffer.active.getLine(terminal.buffer.active.baseY)?.translateToString() ?? '';
    }, at));
    for (let at = 0; at < 16; at += 1) {
      if (at === index) continue;
      const before = await shown(at);
      await until(`tile ${at} to go on`, async () => (await shown(at)) !== before);
    }
    report('a command in a grid of sixteen that flood', { p50_ms: quantile(times, 0.5), max_ms: Math.max(...times), longest_task_ms: await longestFreeze(page) });
    isWithin(1000, quantile(times, 0.5));
    await page.context().close();
  }, 180_000);
});
