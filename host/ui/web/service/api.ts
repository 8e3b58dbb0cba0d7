import { signal } from '@preact/signals';
import { me } from '../live.ts';
import { dropKey, HEADER, keepKey, key } from './key.ts';
import { LineReader } from './lines.ts';
import { Problem } from './problem.ts';
import type { Agent, AgentPage, AgentPatch, Backend, Diff, Info, LogLine, NewAgent, SearchPage, Whoami } from './wire.ts';

/** Whether this browser may use the service; `null` until the first answer. */
export const signedIn = signal<boolean | null>(null);

interface Request {
  method?: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** One request, with the browser's sign-in. Resolves only when it succeeded. */
export async function request(path: string, options: Request = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  const half = key();
  if (half) headers.set(HEADER, half);
  if (options.body !== undefined) headers.set('Content-Type', 'application/json');
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined) query.set(name, String(value));
  }
  const url = query.size > 0 ? `${path}?${query}` : path;
  let response: Response;
  try {
    response = await fetch(url, {
      method: options.method ?? 'GET',
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      ...(options.signal ? { signal: options.signal } : {}),
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw Problem.unreachable();
  }
  if (!response.ok) {
    const problem = await Problem.from(response);
    // Somebody may have signed in since this was asked.
    if (problem.status === 401 && path !== '/login' && half === key()) signedIn.value = false;
    throw problem;
  }
  return response;
}

const json = async <T>(path: string, options?: Request): Promise<T> => (await request(path, options)).json() as Promise<T>;
const agentPath = (id: string, rest = '') => `/agents/${encodeURIComponent(id)}${rest}`;

export const api = {
  info: () => json<Info>('/info'),
  backends: async () => (await json<{ items: Backend[] }>('/backends')).items,

  /** A page of the agents, newest first. */
  agents: (limit: number, cursor?: string) => json<AgentPage>('/agents', { query: { order: 'desc', limit, cursor } }),
  agent: (id: string) => json<Agent>(agentPath(id)),
  create: (agent: NewAgent, signal?: AbortSignal) => json<Agent>('/agents', { method: 'POST', body: agent, signal }),
  edit: (id: string, patch: AgentPatch) => json<Agent>(agentPath(id), { method: 'PATCH', body: patch }),
  diff: (id: string, signal?: AbortSignal) => json<Diff>(agentPath(id, '/diff'), { signal }),
  /** Lines of all agents; a page may have few or none before the end. */
  search: (q: string, cursor: string | undefined, signal: AbortSignal) => json<SearchPage>('/search', { query: { q, cursor }, signal }),
  /** What its terminal has shown, or that of an earlier run, as an asciicast. */
  recording: async (id: string, session: string | undefined, signal: AbortSignal) =>
    (await request(agentPath(id, '/recording'), { query: { session }, signal })).text(),
  stop: (id: string) => request(agentPath(id, '/stop'), { method: 'POST' }),
  restart: (id: string) => request(agentPath(id, '/restart'), { method: 'POST' }),
  /** Press keys, by the service's names for them. */
  keys: (id: string, keys: string[]) => request(agentPath(id, '/keys'), { method: 'POST', body: { keys } }),
  /** Type a text, and Enter unless `submit` is false. */
  input: (id: string, text: string, submit = true) => request(agentPath(id, '/input'), { method: 'POST', body: { text, submit } }),
  /** By force also if its session cannot be ended now. */
  remove: (id: string, force = false) => request(agentPath(id), { method: 'DELETE', query: force ? { force } : {} }),

  ticket: async () => (await json<{ ticket: string }>('/tickets', { method: 'POST' })).ticket,

  /** Learn what this browser is signed in with; fails with 401 when it is not. */
  async recognise(): Promise<void> {
    me.value = await json<Whoami>('/whoami');
    signedIn.value = true;
  },

  /** For all tabs, or for this one. */
  async signIn(proof: { token: string } | { code: string }, tab = false): Promise<void> {
    const response = await request('/login', { method: 'POST', body: proof });
    keepKey(response.headers.get(HEADER) ?? '', tab);
    await api.recognise();
  },

  async signOut(): Promise<void> {
    await request('/logout', { method: 'POST' }).catch(() => undefined);
    dropKey();
    me.value = null;
    signedIn.value = false;
  },

  /** Fails when there is no such agent, or nothing of that run is kept any more. */
  async run(id: string, run: string): Promise<void> {
    if (run === '') await api.agent(id);
    else for await (const _ of api.logs(id, { tail: 1, session: run }));
  },

  /** The lines of an agent's log, in batches as they arrive; with `follow` until the signal aborts. */
  async *logs(
    id: string,
    query: { tail?: number; follow?: boolean; session?: string | undefined },
    abort?: AbortSignal,
  ): AsyncGenerator<LogLine[], void> {
    const response = await request(agentPath(id, '/logs'), { query, signal: abort });
    if (!response.body) return;
    const reader = new LineReader();
    for await (const bytes of chunks(response.body)) {
      const lines = reader.push(bytes).filter((line) => line !== '');
      if (lines.length > 0) yield lines.map(parseLogLine);
    }
    const last = reader.end();
    if (last) yield [parseLogLine(last)];
  },
};

export async function* chunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function parseLogLine(text: string): LogLine {
  const line = JSON.parse(text) as Partial<LogLine>;
  return { ts: line.ts ?? null, stream: line.stream ?? null, line: line.line ?? '' };
}
