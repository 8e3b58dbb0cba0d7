import type { Agent, Status } from '../service/wire.ts';

/** What an agent does while it runs, as far as anybody knows; else its status. */
export type Doing = 'waiting' | 'working' | 'idle' | Status;

/** In the order in which they concern a person. */
export const DOINGS: Record<Doing, string> = {
  waiting: 'Waiting',
  working: 'Working',
  idle: 'Idle',
  running: 'Running',
  pending: 'Pending',
  failed: 'Failed',
  lost: 'Lost',
  stopped: 'Stopped',
};

export function doing({ status, session }: Agent): Doing {
  const state = session?.activity?.state ?? 'unknown';
  return status === 'running' && session?.state === 'running' && state !== 'unknown' ? state : status;
}

/** Since when it does that, or null where nobody knows. */
export function since(agent: Agent): number | null {
  const { status, session, history = [] } = agent;
  if (!session) return null;
  if (session.exit) {
    const ended = Date.parse(history.find((past) => past.started_at === session.created_at)?.ended_at ?? '');
    return Number.isNaN(ended) ? null : ended;
  }
  if (status !== 'running') return null;
  const at = Date.parse(doing(agent) === 'running' ? session.created_at : (session.activity?.since ?? ''));
  return Number.isNaN(at) ? null : at;
}

/** Those that wait for a person, who waits longest first. */
export const waiting = (agents: readonly Agent[]): Agent[] =>
  agents.filter((agent) => doing(agent) === 'waiting').sort((a, b) => (since(a) ?? 0) - (since(b) ?? 0));

export type Order = 'waiting' | 'created' | 'name';

/** Agents that come newest first, in another order. */
export function sorted(agents: readonly Agent[], order: Order): Agent[] {
  switch (order) {
    case 'waiting': {
      const first = waiting(agents);
      return [...first, ...agents.filter((agent) => !first.includes(agent))];
    }
    case 'name':
      return [...agents].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    default:
      return [...agents];
  }
}

/** The one that waits longest after the given one, or the first. */
export function nextWaiting(agents: readonly Agent[], after: string | null): Agent | undefined {
  const all = waiting(agents);
  return all[(all.findIndex(({ id }) => id === after) + 1) % (all.length || 1)];
}
