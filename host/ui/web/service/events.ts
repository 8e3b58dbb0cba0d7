import { chunks, request, signedIn } from './api.ts';
import { backoff } from './backoff.ts';
import { Problem } from './problem.ts';
import { type ServerEvent, SseParser } from './sse.ts';
import type { Activity, Agent, Change, Output } from './wire.ts';

export interface EventsListener {
  /** Connected, or some changes were missed: `change` is called for what happens from now on. */
  open(): void;
  change(change: Change): void;
  /** An agent's screen shows something else. */
  output(output: Output): void;
  /** Not connected; another try follows by itself. */
  lost(problem: Problem): void;
}

/**
 * `GET /events` for as long as the signal lets it, resumed after the last id seen. With `output` `all`
 * the last lines of all agents come with it, also where the service has to follow their logs for that.
 */
export async function follow(listener: EventsListener, stop: AbortSignal, output?: 'all'): Promise<void> {
  let lastId: string | null = null;
  for (let attempt = 0; !stop.aborted; attempt += 1) {
    await pause(backoff(attempt), stop);
    if (stop.aborted) return;
    const parser = new SseParser();
    parser.lastId = lastId;
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (lastId !== null) headers['Last-Event-ID'] = lastId;
      const response = await request('/events', { query: { output }, headers, signal: stop });
      listener.open();
      attempt = 0;
      if (response.body) {
        for await (const bytes of chunks(response.body)) {
          for (const event of parser.push(bytes)) {
            if (event.event === 'gap') listener.open();
            const change = parseChange(event);
            if (change) listener.change(change);
            const output = parseOutput(event);
            if (output) listener.output(output);
          }
          lastId = parser.lastId;
        }
      }
      listener.lost(Problem.unreachable());
    } catch (error) {
      if (stop.aborted) return;
      const problem = Problem.of(error);
      if (signedIn.value === false) return;
      // An id that the service no longer knows must not keep us from trying again.
      if (problem.status >= 400 && problem.status < 500) lastId = null;
      listener.lost(problem);
    }
  }
}

/** A change that this page understands, or null: unknown events are left alone. */
export function parseChange(event: ServerEvent): Change | null {
  let data: unknown;
  try {
    data = JSON.parse(event.data);
  } catch {
    return null;
  }
  const body = (data ?? {}) as { agent?: Agent; id?: string; name?: string; activity?: Activity };
  switch (event.event) {
    case 'created':
    case 'started':
    case 'adopted':
    case 'exited':
    case 'restart_scheduled':
    case 'restarted':
    case 'edited':
    case 'recording_ended':
    case 'health':
    case 'progress':
      return body.agent?.id ? { type: event.event, agent: body.agent } : null;
    case 'activity':
      return body.id && body.activity ? { type: 'activity', id: body.id, name: body.name ?? '', activity: body.activity } : null;
    case 'deleted':
      return body.id ? { type: 'deleted', id: body.id, name: body.name ?? '' } : null;
    default:
      return null;
  }
}

/** What an agent shows, or null for any other event. */
export function parseOutput(event: ServerEvent): Output | null {
  if (event.event !== 'output') return null;
  try {
    const { id, lines } = JSON.parse(event.data) as Partial<Output>;
    return id && Array.isArray(lines) ? { id, lines: lines.map(String) } : null;
  } catch {
    return null;
  }
}

function pause(ms: number, stop: AbortSignal): Promise<void> {
  if (ms === 0 || stop.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      stop.removeEventListener('abort', done);
      removeEventListener('online', done);
      resolve();
    }
    stop.addEventListener('abort', done);
    addEventListener('online', done);
  });
}
