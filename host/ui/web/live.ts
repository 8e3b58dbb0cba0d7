/** What the whole page knows: the backends behind it, and the time. */
import { signal } from '@preact/signals';
import type { Agent, Capability, Info, Scope, Whoami } from './service/wire.ts';

export const info = signal<Info | null>(null);

/** Whether the backend that runs an agent declares a capability. */
export function can({ session }: Agent, capability: Capability): boolean {
  if (session?.capabilities) return session.capabilities.includes(capability);
  const { backend_type, capabilities } = info.value ?? { backend_type: '', capabilities: [] as string[] };
  return (session?.backend_type ?? backend_type) === backend_type && capabilities.includes(capability);
}

/** What this browser was let in with; null before that is known. */
export const me = signal<Whoami | null>(null);

const SCOPES: Scope[] = ['read', 'write', 'admin'];

/** Whether this browser may do what needs that scope, with the agents that it reaches. */
export const may = (scope: Scope): boolean => me.value !== null && SCOPES.indexOf(me.value.scope) >= SCOPES.indexOf(scope);

/** Whether it may do everything: make agents, and change what they are sorted by. */
export const mayAll = (): boolean => may('admin') && !me.value?.agent && !me.value?.label;

/** The time, second by second. */
export const now = signal(Date.now());

setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);

/** How long an agent's process has been running, or null when it is not. */
export function uptime(agent: Agent): number | null {
  const session = agent.session;
  if (agent.status !== 'running' || !session) return null;
  const start = Date.parse(session.created_at);
  return Number.isNaN(start) ? null : now.value - start;
}
