import { expect, test } from 'vitest';
import { Problem } from '../../web/service/problem.ts';
import { Link, type LinkState, type Socket } from '../../web/terminal/link.ts';
import type { Mode } from '../../web/service/wire.ts';

class FakeSocket implements Socket {
  binaryType = '';
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  sent: (string | number[])[] = [];
  closed = false;

  constructor(readonly path: string) {}

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(typeof data === 'string' ? data : [...data]);
  }

  close(): void {
    this.closed = true;
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) } as MessageEvent);
  }

  bytes(...bytes: number[]): void {
    this.onmessage?.({ data: new Uint8Array(bytes).buffer } as MessageEvent);
  }

  end(code: number): void {
    this.onclose?.({ code } as CloseEvent);
  }
}

/** A link with everything around it in the test's hands. */
function rig(mode: Mode = 'rw', run = '') {
  const sockets: FakeSocket[] = [];
  const heard: string[] = [];
  const states: LinkState[] = [];
  const timers: { ms: number; run: () => void }[] = [];
  const world = { now: 0, ticket: async () => `t${sockets.length + 1}` };
  const link = new Link(
    'a b',
    run,
    mode,
    {
      state: (state) => states.push(state),
      size: ({ cols, rows }) => heard.push(`size ${cols}x${rows}`),
      snapshot: (bytes, seq) => heard.push(`snapshot ${[...bytes]} @${seq}`),
      output: (bytes, seq) => heard.push(`output ${[...bytes]} @${seq}`),
      exit: ({ code, signal }) => heard.push(`exit ${code} ${signal}`),
      lost: (bytes) => heard.push(`lost ${bytes}`),
      refused: (detail) => heard.push(`refused ${detail}`),
    },
    {
      ticket: () => world.ticket(),
      now: () => world.now,
      open: (path) => {
        const socket = new FakeSocket(path);
        sockets.push(socket);
        return socket;
      },
      after: (ms, run) => {
        timers.push({ ms, run });
        return () => {
          const at = timers.findIndex((timer) => timer.run === run);
          if (at >= 0) timers.splice(at, 1);
        };
      },
    },
  );
  const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 0));
  const latest = (): FakeSocket => {
    const socket = sockets.at(-1);
    if (!socket) throw new Error('not connected');
    return socket;
  };
  const start = async () => {
    link.start();
    await turn();
    return latest();
  };
  return { link, sockets, heard, states, timers, world, turn, latest, start };
}

const hello = { type: 'hello', session: 's', mode: 'rw', cols: 80, rows: 24, epoch: 'e1', seq: 100 };

test('attaches with a ticket and acknowledgements, from the whole screen', async () => {
  const { start, heard, states } = rig();
  const socket = await start();
  expect(socket.path).toBe('/agents/a%20b/terminal?ticket=t1&ack=1');
  socket.say(hello);
  socket.say({ type: 'snapshot', seq: 120, bytes: 3 });
  socket.bytes(1, 2, 3);
  socket.bytes(9, 9);
  expect(heard).toEqual(['size 80x24', 'snapshot 1,2,3 @120', 'output 9,9 @122']);
  expect(states.at(-1)).toEqual({ kind: 'live', mode: 'rw' });
});

test('an earlier run is asked for by its id', async () => {
  const { start } = rig('ro', 'r1');
  const socket = await start();
  expect(socket.path).toBe('/agents/a%20b/terminal?ticket=t1&ack=1&session=r1&mode=ro');
});

test('a read-only viewer says so and types nothing', async () => {
  const { link, start } = rig('ro');
  const socket = await start();
  expect(socket.path).toContain('mode=ro');
  socket.say({ ...hello, mode: 'ro' });
  expect(link.input(new Uint8Array([1]))).toBe(false);
  link.resize({ cols: 100, rows: 30 });
  expect(socket.sent).toEqual([]);
});

test('a viewer that the service made read-only types nothing either', async () => {
  const { link, start } = rig('rw');
  const socket = await start();
  socket.say({ ...hello, mode: 'ro' });
  expect(link.input(new Uint8Array([1]))).toBe(false);
  expect(socket.sent).toEqual([]);
});

test('a broken connection is resumed where the output stopped', async () => {
  const { start, timers, turn, latest, heard, states } = rig();
  const socket = await start();
  socket.say(hello);
  socket.bytes(1, 2, 3, 4, 5);
  socket.end(1006);
  expect(states.at(-1)?.kind).toBe('lost');
  timers.at(-1)?.run();
  await turn();
  expect(latest().path).toBe('/agents/a%20b/terminal?ticket=t2&ack=1&seq=105&epoch=e1');
  latest().say({ ...hello, seq: 105 });
  latest().bytes(6);
  expect(heard.at(-1)).toBe('output 6 @106');
  expect(states.at(-1)?.kind).toBe('live');
});

test('output that does not continue what is shown starts on an empty screen', async () => {
  const { start, timers, turn, latest, heard } = rig();
  const socket = await start();
  socket.say(hello);
  socket.bytes(1);
  socket.end(1006);
  timers.at(-1)?.run();
  await turn();
  latest().say({ ...hello, epoch: 'e2', seq: 0 });
  latest().bytes(2);
  expect(heard).toEqual(['size 80x24', 'output 1 @101', 'snapshot  @0', 'size 80x24', 'output 2 @1']);
});

test('frames of a replaced connection are ignored', async () => {
  const { link, start, turn, heard } = rig();
  const first = await start();
  first.say(hello);
  const { onmessage } = first;
  link.reconnect();
  await turn();
  onmessage?.({ data: new Uint8Array([1]).buffer } as MessageEvent);
  expect(first.closed).toBe(true);
  expect(heard).toEqual(['size 80x24']);
});

test('the pause between tries grows, and is reset by a success', async () => {
  const { start, timers, turn, latest, world } = rig();
  const socket = await start();
  socket.say(hello);
  const waits: number[] = [];
  for (let tries = 0; tries < 8; tries += 1) {
    latest().end(1006);
    waits.push(timers.at(-1)?.ms ?? -1);
    timers.pop()?.run();
    await turn();
  }
  expect(waits[0]).toBeLessThan(400);
  expect(waits.at(-1)).toBeGreaterThanOrEqual(4000);
  expect(Math.max(...waits)).toBeLessThanOrEqual(6000);
  // A connection that is closed at once does not count as a success.
  latest().say(hello);
  latest().end(4010);
  expect(timers.at(-1)?.ms).toBeGreaterThan(3000);
  timers.pop()?.run();
  await turn();
  latest().say(hello);
  world.now += 60_000;
  latest().end(1006);
  expect(timers.at(-1)?.ms).toBeLessThan(400);
});

test.each([
  [4003, 'ended'],
  [4004, 'ended'],
  [1000, 'ended'],
  [4010, 'lost'],
  [1011, 'lost'],
  [1009, 'lost'],
])('close code %i: %s', async (code, kind) => {
  const { start, states, timers } = rig();
  const socket = await start();
  socket.say(hello);
  socket.end(code);
  expect(states.at(-1)?.kind).toBe(kind);
  expect(timers.length).toBe(kind === 'lost' ? 1 : 0);
});

test('an exit comes after the output, and the connection is not opened again', async () => {
  const { start, heard, states, timers } = rig();
  const socket = await start();
  socket.say(hello);
  socket.bytes(1);
  socket.say({ type: 'exit', signal: 9 });
  socket.end(4000);
  expect(heard.slice(-2)).toEqual(['output 1 @101', 'exit null 9']);
  expect(states.at(-1)).toMatchObject({ kind: 'exited', exit: { signal: 9 } });
  expect(timers).toHaveLength(0);
});

test('after a restart it begins with the whole screen', async () => {
  const { link, start, turn, latest } = rig();
  const socket = await start();
  socket.say(hello);
  socket.end(4000);
  link.restart();
  await turn();
  expect(latest().path).not.toContain('seq=');
});

test('the wanted size is sent with every connection, until it is left to others', async () => {
  const { link, start, turn, latest } = rig();
  link.resize({ cols: 100, rows: 30 });
  const socket = await start();
  socket.say(hello);
  expect(socket.sent).toEqual(['{"type":"resize","cols":100,"rows":30}']);
  link.resize({ cols: 100, rows: 30 });
  expect(socket.sent).toHaveLength(1);
  link.reconnect();
  await turn();
  latest().say(hello);
  expect(latest().sent).toHaveLength(1);
  link.leaveSize();
  link.reconnect();
  await turn();
  latest().say(hello);
  expect(latest().sent).toEqual([]);
});

test('a long paste goes out in pieces, in order', async () => {
  const { link, start } = rig();
  const socket = await start();
  socket.say(hello);
  const text = Uint8Array.from({ length: 100_000 }, (_, at) => at % 251);
  expect(link.input(text)).toBe(true);
  expect(socket.sent.length).toBe(4);
  expect(socket.sent.flat()).toEqual([...text]);
});

test('a permanent refusal ends the tries', async () => {
  const { link, states, timers, turn, world } = rig();
  world.ticket = () => Promise.reject(new Problem(409, 'no-terminal', 'No terminal here.'));
  link.start();
  await turn();
  expect(states.at(-1)).toEqual({ kind: 'ended', code: 409, why: 'No terminal here.' });
  expect(timers).toHaveLength(0);
});

test('what was lost is heard of once, however often it is attached to', async () => {
  const { start, timers, turn, latest, heard } = rig();
  const socket = await start();
  socket.say(hello);
  socket.say({ type: 'lost', from: 10, to: 90 });
  socket.end(1006);
  timers.at(-1)?.run();
  await turn();
  latest().say({ ...hello, seq: 100 });
  latest().say({ type: 'lost', from: 10, to: 90 });
  latest().say({ type: 'lost', from: 'here', to: null });
  expect(heard.filter((one) => one.startsWith('lost'))).toEqual(['lost 80']);
  latest().say({ type: 'lost', from: 100, to: 101 });
  expect(heard.at(-1)).toBe('lost 1');
});

test('unknown frames of a newer service are ignored', async () => {
  const { start, heard } = rig();
  const socket = await start();
  socket.say(hello);
  socket.say({ type: 'weather', outlook: 'fair' });
  socket.onmessage?.({ data: 'not json' } as MessageEvent);
  socket.say({ type: 'error', code: 'bad-frame', detail: 'what?' });
  expect(heard).toEqual(['size 80x24', 'refused what?']);
});
