import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Feed } from '../../web/terminal/feed.ts';
import { FrameTurns } from '../../web/terminal/turns.ts';

let frames: ((now: number) => void)[] = [];
let time = 0;

beforeEach(() => {
  vi.useFakeTimers();
  frames = [];
  time = 1000;
  vi.stubGlobal('document', { hidden: false });
  vi.stubGlobal('performance', { now: () => time });
  vi.stubGlobal('requestAnimationFrame', (run: (now: number) => void) => frames.push(run));
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** One frame, so many milliseconds after the last; the screens parse at once. */
function frame(ms = 16): void {
  time += ms;
  for (const run of frames.splice(0)) run(time);
}

/** A terminal that counts what it was given. */
function terminal(turns: FrameTurns) {
  const state = { written: 0 };
  const feed = new Feed(
    {
      write: (bytes, done) => {
        state.written += bytes.length;
        queueMicrotask(done);
      },
      resize: () => undefined,
    },
    turns,
    () => undefined,
  );
  turns.join(feed);
  return { feed, state };
}

const flood = (bytes: number) => new Uint8Array(bytes);

test('a lone terminal gets all the time of a frame', async () => {
  const turns = new FrameTurns();
  const { feed, state } = terminal(turns);
  feed.output(flood(10_000_000), 10_000_000);
  frame();
  await Promise.resolve();
  expect(state.written).toBeGreaterThanOrEqual(128 * 1024);
  expect(state.written).toBeLessThan(1_100_000);
});

test('slow frames get less, fast ones more', async () => {
  const turns = new FrameTurns();
  const { feed, state } = terminal(turns);
  feed.output(flood(50_000_000), 50_000_000);
  const took = async (ms: number) => {
    const before = state.written;
    frame(ms);
    await Promise.resolve();
    return state.written - before;
  };
  await took(16);
  for (let slow = 0; slow < 5; slow += 1) await took(100);
  expect(await took(100)).toBeLessThanOrEqual(64 * 1024 + 32 * 1024);
});

test('among many terminals the focused one is not slowed down, the others take turns', async () => {
  const turns = new FrameTurns();
  const all = Array.from({ length: 16 }, () => terminal(turns));
  const [first, ...others] = all;
  if (!first) return;
  turns.prefer(first.feed);
  for (const { feed } of others) feed.output(flood(5_000_000), 5_000_000);
  for (let count = 0; count < 30; count += 1) {
    frame();
    await Promise.resolve();
  }
  const shares = others.map(({ state }) => state.written);
  expect(Math.min(...shares)).toBeGreaterThan(0);
  // Half a second, ten turns a second.
  expect(Math.max(...shares)).toBeLessThanOrEqual(6 * 64 * 1024);
  first.feed.output(flood(10), 10);
  expect(first.state.written).toBe(10);
});

test('a hidden page continues to draw', () => {
  vi.stubGlobal('document', { hidden: true });
  const turns = new FrameTurns();
  const { feed, state } = terminal(turns);
  feed.output(flood(100_000), 100_000);
  vi.advanceTimersByTime(60);
  expect(state.written).toBeGreaterThan(0);
});
