/** The service under test, spoken to as a script would. It is started by others; see README.md. */
import { realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import type { Agent, Backend, Info, NewAgent } from '../../web/service/wire.ts';

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: these tests need a running orchestrator`);
  return value;
}

export const URL_BASE = needed('AGENTD_E2E_URL').replace(/\/$/, '');
export const TOKEN = needed('AGENTD_E2E_TOKEN');
export const DIRECTORY = process.env.AGENTD_E2E_DIRECTORY ?? realpathSync(tmpdir());

export async function call(method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(URL_BASE + path, {
    method,
    headers: { Authorization: `Bearer ${TOKEN}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function good<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await call(method, path, body);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const info = (): Promise<Info> => good('GET', '/info');
export const backends = async (): Promise<Backend[]> => (await good<{ items: Backend[] }>('GET', '/backends')).items;
/** The default backend. */
export async function about(): Promise<Backend> {
  const found = (await backends()).find(({ default: is }) => is);
  if (!found) throw new Error('there is no default backend');
  return found;
}
export const agent = (id: string): Promise<Agent> => good('GET', `/agents/${id}`);

let made = 0;
const created = new Set<string>();

/** An agent with a name of its own that is gone after the test file. */
export async function create(spec: Partial<NewAgent> & { command: string[] }): Promise<Agent> {
  made += 1;
  const name = `ui-${process.pid}-${made}`;
  const result = await good<Agent>('POST', '/agents', { name, working_dir: DIRECTORY, ...spec });
  created.add(result.id);
  return result;
}

export async function remove(id: string): Promise<void> {
  created.delete(id);
  await call('DELETE', `/agents/${id}`);
}

export async function removeAll(): Promise<void> {
  await Promise.all([...created].map(remove));
}

/** Until it holds, looked at often; the failure says what was awaited. */
export async function until<T>(what: string, look: () => Promise<T | false | null | undefined>, ms = 20_000): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** A one-time code for a sign-in link. */
export const code = async (): Promise<string> => (await good<{ code: string }>('POST', '/login/codes')).code;
