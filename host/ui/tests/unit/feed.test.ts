import { expect, test } from 'vitest';
import { Feed, type Screen } from '../../web/terminal/feed.ts';

/** A screen that parses when the test says so. */
function rig(free = true) {
  const did: string[] = [];
  const acks: number[] = [];
  const parsing: { length: number; done: () => void }[] = [];
  let asked = 0;
  const screen: Screen = {
    write(bytes, done) {
      did.push(bytes.length <= 8 ? `write ${[...bytes]}` : `write ${bytes.length} bytes`);
      parsing.push({ length: bytes.length, done });
    },
    resize: ({ cols, rows }) => void did.push(`resize ${cols}x${rows}`),
  };
  const feed = new Feed(
    screen,
    {
      ask: () => {
        asked += 1;
      },
      mayWriteNow: () => free,
    },
    (seq) => acks.push(seq),
  );
  const parse = () => parsing.shift()?.done();
  const run = () => {
    for (let steps = 0; (feed.waiting || parsing.length > 0) && steps < 1000; steps += 1) {
      feed.step();
      parse();
    }
  };
  return { feed, did, acks, parsing, parse, run, asked: () => asked };
}

const zeros = (length: number) => new Uint8Array(length);

test('a key and its echo are written at once', () => {
  const { feed, did, asked } = rig();
  feed.output(new Uint8Array([65]), 1);
  expect(did).toEqual(['write 65']);
  expect(asked()).toBe(0);
});

test('among many terminals an echo waits for its turn', () => {
  const { feed, did, asked, run } = rig(false);
  feed.output(new Uint8Array([65]), 1);
  expect(did).toEqual([]);
  expect(asked()).toBe(1);
  run();
  expect(did).toEqual(['write 65']);
});

test('a flood waits for its turn and is written in pieces', () => {
  const { feed, did } = rig();
  feed.output(zeros(100_000), 100_000);
  expect(did).toEqual([]);
  expect(feed.step()).toBe(32 * 1024);
  expect(did).toEqual(['write 32768 bytes']);
});

test('the screen is not given more than it can parse soon', () => {
  const { feed, parsing, parse } = rig();
  feed.output(zeros(1_000_000), 1_000_000);
  while (feed.step() > 0);
  const ahead = parsing.reduce((sum, { length }) => sum + length, 0);
  expect(ahead).toBeLessThanOrEqual(160 * 1024);
  parse();
  expect(feed.step()).toBeGreaterThan(0);
});

test('positions are acknowledged after parsing, absolute and not for every byte', () => {
  const { feed, acks, run, parse } = rig();
  feed.output(zeros(10), 1_000_010);
  expect(acks).toEqual([]);
  parse();
  expect(acks).toEqual([1_000_010]);
  feed.output(zeros(10), 1_000_020);
  run();
  expect(acks).toEqual([1_000_010]);
  feed.output(zeros(100_000), 1_100_020);
  run();
  expect(acks.at(-1)).toBe(1_100_020);
  expect(acks.length).toBeLessThanOrEqual(5);
  expect(feed.parsed).toBe(1_100_020);
});

test('a size waits for the output before it and holds back what comes after', () => {
  const { feed, did, run } = rig();
  let settled = false;
  feed.output(new Uint8Array([1]), 1);
  feed.size({ cols: 100, rows: 30 }, () => {
    settled = true;
  });
  feed.output(new Uint8Array([2]), 2);
  feed.step();
  expect(did).toEqual(['write 1']);
  expect(settled).toBe(false);
  run();
  expect(did).toEqual(['write 1', 'resize 100x30', 'write 2']);
  expect(settled).toBe(true);
});

test('a snapshot replaces the output that still waits, not the sizes, and starts on an empty screen', () => {
  const { feed, did, acks, run } = rig();
  feed.output(zeros(50_000), 50_000);
  feed.size({ cols: 90, rows: 20 });
  feed.output(zeros(50_000), 100_000);
  feed.snapshot(new Uint8Array([7]), 200_000);
  feed.output(new Uint8Array([8]), 200_001);
  run();
  expect(did).toEqual(['resize 90x20', 'write 27,99,7', 'write 8']);
  expect(acks[0]).toBe(200_000);
});

test('the end is reported after all output', () => {
  const { feed, did, run } = rig();
  feed.output(zeros(40_000), 40_000);
  feed.then(() => did.push('exit'));
  run();
  expect(did.at(-1)).toBe('exit');
  expect(did).toHaveLength(3);
});
