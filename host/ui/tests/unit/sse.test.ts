import { expect, test } from 'vitest';
import { parseChange, parseOutput } from '../../web/service/events.ts';
import { LineReader } from '../../web/service/lines.ts';
import { type ServerEvent, SseParser } from '../../web/service/sse.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

/** The same events however the stream is cut. */
function events(text: string): ServerEvent[] {
  const whole = new SseParser().push(bytes(text));
  const all = bytes(text);
  for (const size of [1, 2, 3, 7]) {
    const parser = new SseParser();
    const parts: ServerEvent[] = [];
    for (let at = 0; at < all.length; at += size) parts.push(...parser.push(all.slice(at, at + size)));
    expect(parts, `cut every ${size} bytes`).toEqual(whole);
  }
  return whole;
}

test('an event has an id, a name and data', () => {
  expect(events('id: 7\nevent: exited\ndata: {"a":1}\n\n')).toEqual([{ id: '7', event: 'exited', data: '{"a":1}' }]);
});

test('data lines are joined, one space after the colon is dropped', () => {
  expect(events('data:  two\ndata:lines\n\n')).toEqual([{ id: null, event: 'message', data: ' two\nlines' }]);
});

test('comments, empty events and unknown fields are ignored', () => {
  expect(events(': beat\n\nevent: created\n\nfoo: bar\n\n')).toEqual([]);
});

test('an id stays until there is another', () => {
  expect(events('id: 1\ndata: a\n\ndata: b\n\nid: 3\ndata: c\n\n').map(({ id }) => id)).toEqual(['1', '1', '3']);
});

test('lines end with LF, CR LF or CR', () => {
  expect(events('data: a\r\n\r\ndata: b\r\rdata: ü\n\n').map(({ data }) => data)).toEqual(['a', 'b', 'ü']);
});

test('an event that is not finished is not reported', () => {
  expect(events('data: a\n\ndata: b\n')).toHaveLength(1);
});

test('the service sets the pause before the next try', () => {
  const parser = new SseParser();
  parser.push(bytes('retry: 500\n\n'));
  expect(parser.retry).toBe(500);
});

test('a line reader returns the rest at the end', () => {
  const reader = new LineReader();
  expect(reader.push(bytes('one\ntw'))).toEqual(['one']);
  expect(reader.end()).toBe('tw');
  expect(reader.end()).toBeNull();
});

test('changes are parsed, anything else is ignored', () => {
  const change = (event: string, data: string) => parseChange({ id: '1', event, data });
  expect(change('started', '{"agent":{"id":"a"}}')).toEqual({ type: 'started', agent: { id: 'a' } });
  expect(change('adopted', '{"agent":{"id":"a"}}')).toEqual({ type: 'adopted', agent: { id: 'a' } });
  expect(change('deleted', '{"id":"a","name":"n"}')).toEqual({ type: 'deleted', id: 'a', name: 'n' });
  expect(change('started', '{}')).toBeNull();
  expect(change('started', 'nonsense')).toBeNull();
  expect(change('of-tomorrow', '{"agent":{"id":"a"}}')).toBeNull();
});

test('the last lines of an agent are an event of their own', () => {
  const output = (event: string, data: string) => parseOutput({ id: null, event, data });
  expect(output('output', '{"id":"a","lines":["one","two"]}')).toEqual({ id: 'a', lines: ['one', 'two'] });
  expect(output('started', '{"id":"a","lines":[]}')).toBeNull();
  expect(output('output', '{"id":"a"}')).toBeNull();
  expect(output('output', 'no json')).toBeNull();
  expect(parseChange({ id: null, event: 'output', data: '{"id":"a","lines":[]}' })).toBeNull();
});
