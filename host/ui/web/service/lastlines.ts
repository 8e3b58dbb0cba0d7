import { signal } from '@preact/signals';
import { can, info } from '../live.ts';
import { plain } from '../text/ansi.ts';
import { api } from './api.ts';
import type { Agent } from './wire.ts';

/** The newest line of each agent's output, by agent id, for the list. */
export const lastLines = signal<ReadonlyMap<string, string>>(new Map());

/** Who is due is looked at so often, which asks nobody anything. */
const STEP_MS = 500;
/** A session is asked again so soon after it began, then after twice as long each time, up to the last of these. */
const FIRST_MS = 500;
const LAST_MS = 10_000;
/** A few questions at a time, so that a long list does not burden the service. */
const AT_ONCE = 3;

/** When an agent is asked next. */
interface Turn {
  /** What the agent ran and whether it had ended: with another one it begins anew. */
  session: string;
  pause: number;
  due: number;
}

const turns = new Map<string, Turn>();

/** Show the last of these lines with something on it. */
export function showLastLine(id: string, lines: string[]): void {
  const line = lastOf(lines);
  if (lastLines.value.get(id) === line) return;
  lastLines.value = new Map(lastLines.value).set(id, line);
}

export function forgetLastLine(id: string): void {
  turns.delete(id);
  if (!lastLines.value.has(id)) return;
  const next = new Map(lastLines.value);
  next.delete(id);
  lastLines.value = next;
}

/**
 * Ask for the last lines of these agents until the signal aborts, where they do not come with the
 * events: a backend without a terminal has no screen that the service could look at.
 */
export async function askForLastLines(agents: () => Agent[], stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    if (info.value && !can('terminal') && !document.hidden) await ask(agents(), stop);
    await untilDue(stop);
  }
}

/** Some time later, or when the page is looked at again or learns about its backend. */
function untilDue(stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const before = info.value;
    const timer = setTimeout(done, STEP_MS);
    const unsubscribe = info.subscribe((value) => {
      if (value !== before) done();
    });
    const seen = () => {
      if (!document.hidden) done();
    };
    document.addEventListener('visibilitychange', seen);
    stop.addEventListener('abort', done);
    function done() {
      clearTimeout(timer);
      unsubscribe();
      document.removeEventListener('visibilitychange', seen);
      stop.removeEventListener('abort', done);
      resolve();
    }
  });
}

async function ask(agents: Agent[], stop: AbortSignal): Promise<void> {
  const due = agents.filter(isDue);
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let agent = due.shift(); agent && !stop.aborted; agent = due.shift()) {
      const lines = await read(agent.id, stop);
      if (lines !== null) showLastLine(agent.id, lines);
      const turn = turns.get(agent.id);
      if (!turn) continue;
      // The last line of a session that has ended stays.
      turn.due = agent.session?.state === 'exited' && lines !== null ? Infinity : Date.now() + turn.pause;
      turn.pause = Math.min(2 * turn.pause, LAST_MS);
    }
  });
  await Promise.all(workers);
}

function isDue({ id, session }: Agent): boolean {
  if (!session) return false;
  const now = `${session.created_at} ${session.state}`;
  const turn = turns.get(id);
  if (turn?.session === now) return Date.now() >= turn.due;
  turns.set(id, { session: now, pause: FIRST_MS, due: 0 });
  return true;
}

/** The last lines, or null when there is no answer. */
async function read(id: string, stop: AbortSignal): Promise<string[] | null> {
  const lines: string[] = [];
  try {
    for await (const batch of api.logs(id, { tail: 5 }, stop)) lines.push(...batch.map(({ line }) => line));
    return lines;
  } catch {
    return null;
  }
}

function lastOf(lines: string[]): string {
  return lines.map((line) => plain(line).trim()).findLast((line) => line !== '') ?? '';
}
