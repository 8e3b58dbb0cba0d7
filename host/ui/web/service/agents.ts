import { computed, signal } from '@preact/signals';
import { can, info } from '../live.ts';
import { api } from './api.ts';
import { follow } from './events.ts';
import { forgetLastLine, showLastLine } from './lastlines.ts';
import { Problem } from './problem.ts';
import type { Agent, Capability, Change } from './wire.ts';

/** More agents than this are not listed: the page says so, and the command line pages through them. */
const MOST = 1000;
const PAGE = 200;

const known = signal<ReadonlyMap<string, Agent>>(new Map());

/** How many agents the service has, listed here or not. */
export const total = signal(0);
/** Whether the first list has arrived. */
export const loaded = signal(false);
/** Why the list is not live at the moment, if so. */
export const stale = signal<Problem | null>(null);

/** Every agent, newest first. */
export const agents = computed(() =>
  [...known.value.values()].sort((a, b) => b.created_at.localeCompare(a.created_at) || a.name.localeCompare(b.name)),
);

/** Whether the default backend has a capability, or that of an agent. */
export const canSome = (capability: Capability): boolean =>
  (info.value?.capabilities.includes(capability) ?? false) || agents.value.some((agent) => can(agent, capability));

/** Whether there are agents whose screens only their backend has. */
export const areSomeElsewhere = computed(() => info.value !== null && agents.value.some((agent) => !can(agent, 'terminal')));

export const agentById = (id: string): Agent | undefined => known.value.get(id);

const listeners = new Set<(change: Change) => void>();

/** Hear of every change; returns how to stop. */
export function onChange(listener: (change: Change) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Keep the list live until the signal aborts. */
export function keepLive(stop: AbortSignal): void {
  void follow(
    {
      // The list is read again at every connection, so that nothing depends on how far back the service remembers.
      open: () => void reload(stop),
      change: apply,
      output: ({ id, lines }) => showLastLine(id, lines),
      lost: (problem) => {
        if (problem.status !== 401) stale.value = problem;
      },
    },
    stop,
  );
}

/** Put an agent in the list, as an answer of the service describes it. */
export function put(agent: Agent): void {
  const next = new Map(known.value);
  if (!next.has(agent.id)) total.value += 1;
  next.set(agent.id, agent);
  known.value = next;
}

function apply(change: Change): void {
  during?.push(change);
  store(change);
  for (const listener of listeners) listener(change);
}

function store(change: Change): void {
  if (change.type === 'deleted') {
    drop(change.id);
  } else if (change.type === 'activity') {
    const agent = agentById(change.id);
    if (agent?.session) put({ ...agent, session: { ...agent.session, activity: change.activity } });
  } else {
    put(change.agent);
  }
}

function drop(id: string): void {
  forgetLastLine(id);
  if (!known.value.has(id)) return;
  const next = new Map(known.value);
  next.delete(id);
  known.value = next;
  total.value = Math.max(0, total.value - 1);
}

/** What happened while the list was being read: it may or may not be in it, and is applied again. */
let during: Change[] | null = null;

async function reload(stop: AbortSignal): Promise<void> {
  const missed: Change[] = [];
  during = missed;
  try {
    const list = new Map<string, Agent>();
    let count = 0;
    let cursor: string | undefined;
    do {
      const page = await api.agents(PAGE, cursor);
      for (const agent of page.items) list.set(agent.id, agent);
      count = page.total;
      cursor = page.next_cursor;
    } while (cursor !== undefined && list.size < MOST && !stop.aborted);
    if (stop.aborted) return;
    known.value = list;
    total.value = count;
    for (const change of missed) store(change);
    loaded.value = true;
    stale.value = null;
  } catch (error) {
    if (!stop.aborted) stale.value = Problem.of(error);
  } finally {
    if (during === missed) during = null;
  }
}
