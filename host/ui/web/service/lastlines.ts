import { signal } from '@preact/signals';
import { can, info } from '../live.ts';
import { plain } from '../text/ansi.ts';
import { api } from './api.ts';
import type { Agent } from './wire.ts';

/** The newest line of each agent's output, by agent id, for the list. */
export const lastLines = signal<ReadonlyMap<string, string>>(new Map());

const EVERY_MS = 10_000;
/** A few questions at a time, so that a long list does not burden the service. */
const AT_ONCE = 3;

/** The session that an agent's last line was read from, once it has ended: such a line stays. */
const settled = new Map<string, string>();

/** Show the last of these lines with something on it. */
export function showLastLine(id: string, lines: string[]): void {
  const line = lastOf(lines);
  if (lastLines.value.get(id) === line) return;
  lastLines.value = new Map(lastLines.value).set(id, line);
}

export function forgetLastLine(id: string): void {
  settled.delete(id);
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
    const timer = setTimeout(done, EVERY_MS);
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
  const due = agents.filter((agent) => agent.session && settled.get(agent.id) !== agent.session.created_at);
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let agent = due.shift(); agent && !stop.aborted; agent = due.shift()) {
      const lines = await read(agent.id, stop);
      if (lines === null) continue;
      showLastLine(agent.id, lines);
      if (agent.session?.state === 'exited') settled.set(agent.id, agent.session.created_at);
    }
  });
  await Promise.all(workers);
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
