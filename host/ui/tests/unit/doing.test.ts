import { expect, test } from 'vitest';
import type { Activity, Agent, Session } from '../../web/service/wire.ts';
import { doing, nextWaiting, since, sorted, waiting } from '../../web/text/doing.ts';
import { count, EVERYTHING, found } from '../../web/text/list.ts';

const at = (seconds: number) => new Date(seconds * 1000).toISOString();

function agent(id: string, state: Activity['state'] | null, seconds = 0, more: Partial<Agent> = {}): Agent {
  const session = {
    state: 'running',
    health: 'unknown',
    exit: null,
    working_dir: '/home/you/project',
    command: ['/usr/bin/claude', '--model', 'x'],
    created_at: at(1),
    ...(state ? { activity: { state, since: at(seconds) } } : {}),
  } as Session;
  return { id, name: id, status: 'running', restarts: 0, created_at: at(1), session, ...more };
}

const all = [agent('new', 'working', 9), agent('late', 'waiting', 8), agent('b10', null), agent('early', 'waiting', 5), agent('b9', 'idle', 3)];
const names = (agents: Agent[]) => agents.map(({ id }) => id);

test('what an agent does is its activity while it runs, and its status else', () => {
  expect(doing(agent('a', 'waiting'))).toBe('waiting');
  expect(doing(agent('a', null))).toBe('running');
  expect(doing(agent('a', 'unknown'))).toBe('running');
  expect(doing(agent('a', 'waiting', 0, { status: 'stopped' }))).toBe('stopped');
  expect(doing(agent('a', null, 0, { session: null, status: 'pending' }))).toBe('pending');
});

test('since when it does that is known where the service says it', () => {
  expect(since(agent('a', 'idle', 7))).toBe(7000);
  expect(since(agent('a', null))).toBe(1000);
  expect(since(agent('a', 'idle', 7, { status: 'failed' }))).toBeNull();
  const { session } = agent('a', null);
  const ended = { status: 'stopped', session: { ...session, exit: { signal: 1 } } } as Partial<Agent>;
  expect(since(agent('a', null, 0, ended))).toBeNull();
  const past = (started: number, end: number) => ({ id: `${end}`, started_at: at(started), ended_at: at(end), exit: {} });
  expect(since(agent('a', null, 0, { ...ended, history: [past(0, 1), past(1, 9)] }))).toBe(9000);
});

test('who waits longest comes first, and the others as they were', () => {
  expect(names(waiting(all))).toEqual(['early', 'late']);
  expect(names(sorted(all, 'waiting'))).toEqual(['early', 'late', 'new', 'b10', 'b9']);
  expect(names(sorted(all, 'created'))).toEqual(names(all));
  expect(names(sorted(all, 'name'))).toEqual(['b9', 'b10', 'early', 'late', 'new']);
});

test('the next one that waits comes after the one that is looked at, and all of them come', () => {
  expect(nextWaiting(all, null)?.id).toBe('early');
  expect(nextWaiting(all, 'early')?.id).toBe('late');
  expect(nextWaiting(all, 'late')?.id).toBe('early');
  expect(nextWaiting(all, 'new')?.id).toBe('early');
  expect(nextWaiting([], 'new')).toBeUndefined();
});

test('agents are found by their labels, and by words in what is known of them', () => {
  const listed = [agent('one', null, 0, { labels: { team: 'a', urgent: '' } }), agent('two', null, 0, { labels: { team: 'b' } }), agent('three', null, 0, { session: null })];
  const by = (text: string, labels: string[] = []) => names(found(listed, { ...EVERYTHING, text, labels }));
  expect(by('')).toEqual(['one', 'two', 'three']);
  expect(by('', ['team=a', 'urgent'])).toEqual(['one']);
  expect(by('', ['team'])).toEqual([]);
  expect(by('TEAM=B project')).toEqual(['two']);
  expect(by('claude two')).toEqual(['two']);
  expect([...count(all)]).toEqual([['working', 1], ['waiting', 2], ['running', 1], ['idle', 1]]);
});
