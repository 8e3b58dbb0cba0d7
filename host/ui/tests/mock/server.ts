/**
 * A stand-in for the orchestrator, to develop the page without one:
 * `npm run mock`. It keeps to the contract as far as the page can see.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import type { Agent, AgentPatch, Change, NewAgent, Session, FoundLine } from '../../web/service/wire.ts';
import { MockSession } from './session.ts';

const BACKENDS: Record<string, { capabilities: string[]; on_terminals?: boolean; options_schema: object | null }> = {
  pty: { capabilities: ['terminal', 'interactive'], on_terminals: true, options_schema: null },
  tmux: {
    capabilities: ['attach-tmux'],
    options_schema: {
      type: 'object',
      properties: {
        layout: {
          type: 'object',
          description: 'How the window is divided.',
          properties: { type: { enum: ['single', 'horizontal', 'vertical', 'tiled'] }, panes: { type: 'integer', minimum: 1, maximum: 16 } },
        },
      },
    },
  },
  docker: {
    capabilities: ['health-check', 'logs'],
    options_schema: {
      type: 'object',
      properties: {
        image: { type: 'string', description: 'The image to run.', default: 'ghcr.io/geoffjay/agentd-agent:latest' },
        cpu_limit: { type: 'number', minimum: 0.01, default: 2, description: 'CPUs.' },
        memory_limit_mb: { type: 'integer', minimum: 16, default: 2048 },
        network_policy: { type: 'string', enum: ['internet', 'isolated', 'host_network'], default: 'internet' },
        mounts: {
          type: 'array',
          items: {
            type: 'object',
            required: ['host_path', 'container_path'],
            properties: { host_path: { type: 'string' }, container_path: { type: 'string' }, read_only: { type: 'boolean', default: false } },
          },
        },
        tty: { type: 'boolean', default: false },
        pull: { enum: ['missing', 'always', 'never'], default: 'missing' },
      },
    },
  },
};

const backend = process.env.AGENTD_BACKEND ?? 'pty';
const about = BACKENDS[backend] ?? { capabilities: [], options_schema: null };
const token = process.env.AGENTD_TOKEN ?? 'test-token';
const dist = fileURLToPath(new URL('../../dist/', import.meta.url));
const csp = /CONTENT_SECURITY_POLICY: &str = "([^"]*)"/
  .exec(readFileSync(new URL('../../src/lib.rs', import.meta.url), 'utf8'))?.[1]
  ?.replace(/\\\s+/g, '');

interface Kept {
  agent: Agent;
  spec: NewAgent;
  session: MockSession;
}

const agents = new Map<string, Kept>();
const keys = new Set<string>();
const tickets = new Set<string>();
const codes = new Set<string>();
const listeners = new Set<ServerResponse>();
const past: string[] = [];

function tell(change: Change): void {
  const { type, ...data } = change;
  const text = `id: ${past.length + 1}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  past.push(text);
  for (const listener of listeners) listener.write(text);
}

/** What the screens show last, to whoever listens; these events have no place in the order of the others. */
const shown = new Map<string, string>();
setInterval(() => {
  if (!about.capabilities.includes('terminal') || listeners.size === 0) return;
  for (const [id, { session }] of agents) {
    const data = JSON.stringify({ id, lines: session.lines.slice(-5) });
    if (shown.get(id) === data) continue;
    shown.set(id, data);
    for (const listener of listeners) listener.write(`event: output\ndata: ${data}\n\n`);
  }
}, 1000).unref();

function start(kept: { agent: Agent; spec: NewAgent }): MockSession {
  const { agent, spec } = kept;
  const command = spec.command ?? [spec.agent === undefined || spec.agent === 'general' ? '/bin/bash' : spec.agent];
  const session: MockSession = new MockSession(spec.name, command, spec.working_dir, spec.env ?? {}, (exit) => {
    if (agents.get(agent.id)?.session !== session) return;
    agent.status = exit.code === 0 || session.stopped ? 'stopped' : 'failed';
    tell({ type: 'exited', agent: describe(agents.get(agent.id) as Kept) });
  });
  agent.status = 'running';
  return session;
}

function describe({ agent, spec, session }: Kept): Agent {
  const described = {
    name: agent.name,
    backend_type: backend,
    health: about.capabilities.includes('health-check') ? 'healthy' : 'unknown',
    env: Object.fromEntries(Object.keys(spec.env ?? {}).map((name) => [name, '***'])),
    options: spec.options ?? {},
    ...(spec.keep ? { keep: spec.keep } : {}),
    ...(about.capabilities.includes('attach-tmux') ? { attach_command: ['tmux', 'attach', '-t', `=agentd-${agent.name}`] } : {}),
    ...session.describe(),
  };
  return { ...agent, session: described as Session };
}

const server = createServer((request, response) => void answer(request, response).catch((error: unknown) => problem(response, 500, 'internal', String(error))));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://mock');
  const { method } = request;
  const is = (want: string, path: string) => method === want && url.pathname === path;
  if (is('GET', '/info')) return json(response, 200, { backend_type: backend, version: '0.1.0', capabilities: about.capabilities });
  if (is('POST', '/login')) {
    const proof = JSON.parse(await body(request)) as { token?: string; code?: string };
    const good = proof.token === token || (proof.code !== undefined && codes.delete(proof.code));
    if (!good) return problem(response, 401, 'unauthorized', 'Wrong token or code.');
    const key = randomUUID();
    keys.add(key);
    response.writeHead(204, { 'Agentd-Key': key, 'Set-Cookie': `agentd_mock=${key}; HttpOnly; SameSite=Strict; Path=/` });
    response.end();
    return;
  }
  const file = url.pathname === '/' ? 'index.html' : url.pathname.slice(1);
  if (method === 'GET' && /^(index\.html|favicon(-\d)?\.svg|assets\/[\w.-]+)$/.test(file) && existsSync(dist + file)) {
    const types: Record<string, string> = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    response.writeHead(200, { 'Content-Type': types[file.split('.').pop() ?? ''] ?? '', 'Content-Security-Policy': csp ?? '' });
    response.end(readFileSync(dist + file));
    return;
  }
  const allowed = request.headers.authorization === `Bearer ${token}` || bothHalves(request);
  if (!allowed) return problem(response, 401, 'unauthorized', 'Sign in first.');
  if (is('POST', '/logout')) {
    keys.delete(String(request.headers['agentd-key']));
    response.writeHead(204).end();
    return;
  }
  if (is('POST', '/login/codes')) {
    const code = randomUUID();
    codes.add(code);
    return json(response, 201, { code, url: `http://${request.headers.host}/#code=${code}` });
  }
  if (is('GET', '/whoami')) return json(response, 200, { name: 'sign-in', scope: 'admin' });
  if (is('POST', '/tickets')) {
    const ticket = randomUUID();
    tickets.add(ticket);
    return json(response, 201, { ticket, expires_in: 30 });
  }
  if (is('GET', '/backends')) return json(response, 200, { items: [{ backend_type: backend, version: '0.1.0', default: true, state: 'ready', ...about }], total: 1 });
  if (is('GET', '/events')) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    const last = Number(request.headers['last-event-id'] ?? past.length);
    response.write(`: hello\n\n${past.slice(last).join('')}`);
    listeners.add(response);
    shown.clear();
    response.on('close', () => listeners.delete(response));
    return;
  }
  if (is('GET', '/agents')) {
    const all = [...agents.values()].map(describe).reverse();
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const to = from + Number(url.searchParams.get('limit') ?? 50);
    return json(response, 200, { items: all.slice(from, to), total: all.length, ...(to < all.length ? { next_cursor: String(to) } : {}) });
  }
  if (is('GET', '/search')) return json(response, 200, { items: [...agents.values()].flatMap((kept) => search(kept, url.searchParams.get('q') ?? '')) });
  if (is('POST', '/agents')) {
    const spec = JSON.parse(await body(request)) as NewAgent;
    if ([...agents.values()].some(({ agent }) => agent.name === spec.name)) {
      return problem(response, 409, 'name-taken', `An agent named ${spec.name} exists.`, 'Choose another name or delete that one.');
    }
    if (!existsSync(spec.working_dir)) return problem(response, 400, 'bad-directory', `${spec.working_dir} is not a directory.`);
    const agent: Agent = { id: randomUUID(), name: spec.name, status: 'pending', restarts: 0, created_at: new Date().toISOString(), labels: spec.labels ?? {}, restart: spec.restart ?? 'never', session: null };
    if (spec.max_restarts !== undefined) agent.max_restarts = spec.max_restarts;
    const kept: Kept = { agent, spec, session: start({ agent, spec }) };
    agents.set(agent.id, kept);
    tell({ type: 'created', agent: describe(kept) });
    return json(response, 201, describe(kept));
  }
  const [, id, verb] = /^\/agents\/([^/]+)(?:\/(\w+))?$/.exec(url.pathname) ?? [];
  const kept = id ? agents.get(id) : undefined;
  if (!kept) return problem(response, 404, 'not-found', 'No such agent.');
  if (method === 'GET' && !verb) return json(response, 200, describe(kept));
  if (method === 'PATCH' && !verb) {
    const { labels, restart, max_restarts } = JSON.parse(await body(request)) as AgentPatch;
    const changed = Object.entries({ ...kept.agent.labels, ...labels });
    kept.agent.labels = Object.fromEntries(changed.filter((label): label is [string, string] => label[1] !== null));
    if (restart) kept.agent.restart = restart;
    if (max_restarts === null) delete kept.agent.max_restarts;
    else if (max_restarts !== undefined) kept.agent.max_restarts = max_restarts;
    tell({ type: 'edited', agent: describe(kept) });
    return json(response, 200, describe(kept));
  }
  if (method === 'DELETE' && !verb) {
    agents.delete(kept.agent.id);
    kept.session.drop(4004);
    kept.session.kill();
    tell({ type: 'deleted', id: kept.agent.id, name: kept.agent.name });
    response.writeHead(204).end();
    return;
  }
  if (method === 'POST' && verb === 'stop') {
    kept.session.stopped = true;
    kept.session.kill();
    return json(response, 202, describe(kept));
  }
  if (method === 'POST' && verb === 'restart') {
    kept.session.kill();
    kept.agent.restarts += 1;
    kept.session = start(kept);
    tell({ type: 'restarted', agent: describe(kept) });
    return json(response, 202, describe(kept));
  }
  if (method === 'GET' && verb === 'logs') return logs(kept.session, url, response);
  problem(response, 404, 'not-found', 'No such thing.');
}

function search({ agent, session }: Kept, wanted: string): FoundLine[] {
  const { lines } = session;
  return lines.flatMap((line, number) =>
    line.toLowerCase().includes(wanted.toLowerCase())
      ? [{ agent: agent.id, name: agent.name, session: 'newest', number, line, before: lines.slice(Math.max(0, number - 2), number), after: lines.slice(number + 1, number + 3) }]
      : [],
  );
}

function logs(session: MockSession, url: URL, response: ServerResponse): void {
  const structured = about.capabilities.includes('logs');
  const write = (line: string, index: number) =>
    response.write(
      `${JSON.stringify({ ts: structured ? new Date().toISOString() : null, stream: structured ? (index % 7 === 3 ? 'stderr' : 'stdout') : null, line })}\n`,
    );
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  session.lines.slice(-Number(url.searchParams.get('tail') ?? session.lines.length)).forEach(write);
  let at = session.lines.length;
  if (url.searchParams.get('follow') !== 'true' || session.exit) return void response.end();
  const timer = setInterval(() => {
    session.lines.slice(at).forEach(write);
    at = session.lines.length;
    if (session.exit) response.end();
  }, 100);
  response.on('close', () => clearInterval(timer));
}

const sockets = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => {
  const url = new URL(request.url ?? '/', 'http://mock');
  const id = /^\/agents\/([^/]+)\/terminal$/.exec(url.pathname)?.[1];
  const kept = id ? agents.get(id) : undefined;
  const good = tickets.delete(url.searchParams.get('ticket') ?? '');
  const origin = request.headers.origin;
  if (origin !== undefined && origin !== `http://${request.headers.host}`) {
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    return;
  }
  if (!kept || !good || !about.capabilities.includes('terminal')) {
    socket.end(`HTTP/1.1 ${good ? '404 Not Found' : '401 Unauthorized'}\r\n\r\n`);
    return;
  }
  const query = url.searchParams;
  const from = query.has('seq') ? { seq: Number(query.get('seq')), epoch: query.get('epoch') ?? '' } : null;
  sockets.handleUpgrade(request, socket, head, (opened) => kept.session.attach(opened, query.get('mode') === 'ro' ? 'ro' : 'rw', from));
});

function bothHalves({ headers }: IncomingMessage): boolean {
  const key = String(headers['agentd-key']);
  return keys.has(key) && (headers.cookie?.includes(`agentd_mock=${key}`) ?? false);
}

async function body(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request) text += part;
  return text;
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value));
}

function problem(response: ServerResponse, status: number, code: string, detail: string, hint?: string): void {
  response.writeHead(status, { 'Content-Type': 'application/problem+json' });
  response.end(JSON.stringify({ title: code, status, code, detail, ...(hint ? { hint } : {}) }));
}

server.listen(Number(process.env.AGENTD_PORT ?? 0), '127.0.0.1', () => {
  const address = server.address();
  console.log(`mock ${backend} at http://127.0.0.1:${typeof address === 'object' ? address?.port : address}/ with the token ${token}`);
});
