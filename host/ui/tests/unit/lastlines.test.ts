import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Agent } from '../../web/service/wire.ts';

const asked: string[] = [];
const page = { hidden: false, listeners: new Map<string, () => void>() };

vi.mock('../../web/service/api.ts', () => ({
  api: {
    async *logs(id: string) {
      asked.push(id);
      yield [{ ts: null, stream: null, line: `\x1b[1mof ${id}\x1b[0m` }, { ts: null, stream: null, line: '  ' }];
    },
  },
}));

let stop: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  asked.length = 0;
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
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.resetModules();
});

const agent = (id: string, state: string) => ({ id, session: { state, created_at: 'then' } }) as unknown as Agent;

async function ask(capabilities: string[] | null, agents: Agent[]) {
  const lines = await import('../../web/service/lastlines.ts');
  const { info } = await import('../../web/live.ts');
  info.value = capabilities && { backend_type: 'b', version: '1', capabilities };
  void lines.askForLastLines(() => agents, stop.signal);
  await vi.advanceTimersByTimeAsync(0);
  return { info, ...lines };
}

test('no request is made where the lines come with the events', async () => {
  const { lastLines, showLastLine, forgetLastLine } = await ask(['terminal'], [agent('a', 'running')]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([]);
  showLastLine('a', ['one', 'two', ' ']);
  expect(lastLines.value.get('a')).toBe('two');
  const before = lastLines.value;
  showLastLine('a', ['two']);
  expect(lastLines.value).toBe(before);
  forgetLastLine('a');
  expect(lastLines.value.has('a')).toBe(false);
});

test('without a terminal the last line is requested, often at first, until the agent has ended', async () => {
  const a = agent('a', 'running');
  const { lastLines } = await ask(['logs'], [a, agent('b', 'exited')]);
  expect(lastLines.value.get('a')).toBe('of a');
  expect(asked).toEqual(['a', 'b']);
  await vi.advanceTimersByTimeAsync(500);
  expect(asked).toEqual(['a', 'b', 'a']);
  await vi.advanceTimersByTimeAsync(30_000);
  const before = asked.length;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked.length).toBe(before + 6);
  a.session!.state = 'exited';
  await vi.advanceTimersByTimeAsync(500);
  expect(asked.length, 'its last line is read once it has ended').toBe(before + 7);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked.length).toBe(before + 7);
});

test('no request is made while the page is hidden', async () => {
  page.hidden = true;
  await ask(['logs'], [agent('a', 'running')]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toEqual([]);
  page.hidden = false;
  page.listeners.get('visibilitychange')?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toEqual(['a']);
});

test('the first request waits until the backend is known', async () => {
  const { info } = await ask(null, [agent('a', 'running')]);
  expect(asked).toEqual([]);
  info.value = { backend_type: 'b', version: '1', capabilities: ['logs'] };
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toEqual(['a']);
});
