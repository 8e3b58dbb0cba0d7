import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { EventsListener } from '../../web/service/events.ts';

interface Listening {
  listener: EventsListener;
  stop: AbortSignal;
  output: string | undefined;
}

const listening: Listening[] = [];
const page = { hidden: false, listeners: new Map<string, () => void>() };

vi.mock('../../web/service/events.ts', () => ({
  async follow(listener: EventsListener, stop: AbortSignal, output?: string) {
    listening.push({ listener, stop, output });
  },
}));

let stop: AbortController;

beforeEach(() => {
  listening.length = 0;
  page.hidden = false;
  vi.stubGlobal('document', {
    get hidden() {
      return page.hidden;
    },
    addEventListener: (name: string, listener: () => void) => page.listeners.set(name, listener),
    removeEventListener: (name: string) => page.listeners.delete(name),
  });
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  vi.unstubAllGlobals();
  vi.resetModules();
});

async function listen(isWanted: boolean) {
  const lines = await import('../../web/service/lastlines.ts');
  const { signal } = await import('@preact/signals');
  const wanted = signal(isWanted);
  lines.listenToLastLines(wanted, stop.signal);
  return { wanted, ...lines };
}

function show(hidden: boolean) {
  page.hidden = hidden;
  page.listeners.get('visibilitychange')?.();
}

test('nothing is listened to where the lines come with the events anyway', async () => {
  const { lastLines, showLastLine, forgetLastLine } = await listen(false);
  expect(listening).toEqual([]);
  showLastLine('a', ['one', 'two', ' ']);
  expect(lastLines.value.get('a')).toBe('two');
  const before = lastLines.value;
  showLastLine('a', ['two']);
  expect(lastLines.value).toBe(before);
  forgetLastLine('a');
  expect(lastLines.value.has('a')).toBe(false);
});

test('where they do not, the last lines of all agents are listened to, until the list is left', async () => {
  const { lastLines } = await listen(true);
  expect(listening.map(({ output }) => output)).toEqual(['all']);
  listening[0]!.listener.output({ id: 'a', lines: ['one', '\x1b[1mof a\x1b[0m', '  '] });
  expect(lastLines.value.get('a')).toBe('of a');
  stop.abort();
  expect(listening[0]!.stop.aborted).toBe(true);
  expect(page.listeners.size).toBe(0);
});

test('nothing is listened to while the page is hidden', async () => {
  page.hidden = true;
  await listen(true);
  expect(listening).toEqual([]);
  show(false);
  expect(listening.length).toBe(1);
  show(true);
  expect(listening[0]!.stop.aborted).toBe(true);
  show(false);
  expect(listening.length).toBe(2);
  expect(listening[1]!.stop.aborted).toBe(false);
});

test('they are listened to from when they are wanted', async () => {
  const { wanted } = await listen(false);
  expect(listening).toEqual([]);
  wanted.value = true;
  expect(listening.length).toBe(1);
});
