import { signal } from '@preact/signals';
import { plain } from '../text/ansi.ts';
import { api } from './api.ts';
import type { Agent } from './wire.ts';

/** The newest line of each agent's output, by agent id, for the list. */
export const lastLines = signal<ReadonlyMap<string, string>>(new Map());

const EVERY_MS = 4000;
/** A few questions at a time, so that a long list is no burden on the service. */
const AT_ONCE = 3;

/** The session that an agent's last line was read from, once it has ended: such a line stays. */
const settled = new Map<string, string>();

/** Keep the last lines of these agents fresh until the signal aborts. */
export async function keepLastLines(agents: () => Agent[], stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    if (!document.hidden) await refresh(agents(), stop);
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

async function refresh(agents: Agent[], stop: AbortSignal): Promise<void> {
  const due = agents.filter((agent) => agent.session && settled.get(agent.id) !== agent.session.created_at);
  const next = new Map(lastLines.value);
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let agent = due.shift(); agent && !stop.aborted; agent = due.shift()) {
      const line = await lastLine(agent.id, stop);
      if (line === null) continue;
      next.set(agent.id, line);
      if (agent.session?.state === 'exited') settled.set(agent.id, agent.session.created_at);
    }
  });
  await Promise.all(workers);
  if (!stop.aborted) lastLines.value = next;
}

/** The last line with something on it, or null when there is no answer. */
async function lastLine(id: string, stop: AbortSignal): Promise<string | null> {
  try {
    let last = '';
    for await (const batch of api.logs(id, { tail: 5 }, stop)) {
      for (const { line } of batch) {
        const text = plain(line).trim();
        if (text !== '') last = text;
      }
    }
    return last;
  } catch {
    return null;
  }
}
