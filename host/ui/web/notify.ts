import { effect } from '@preact/signals';
import { say } from './parts/toast.tsx';
import { notify } from './prefs.ts';
import { agentLink, go, route } from './router.ts';
import { agents } from './service/agents.ts';
import type { Agent } from './service/wire.ts';
import { type Doing, doing } from './text/doing.ts';

/** How many wait, in the tab's icon. The pictures are made when the page is built. */
export function showCount(count: number): void {
  const icon = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  const href = count > 0 ? `/favicon-${Math.min(count, 9)}.svg` : '/favicon.svg';
  if (icon && icon.getAttribute('href') !== href) icon.setAttribute('href', href);
}

/** Browsers have it at loopback addresses and by HTTPS. */
export const canNotify = (): boolean => 'Notification' in window && isSecureContext;

/** Switch the browser's notifications; the browser asks the person the first time. */
export async function askToNotify(): Promise<void> {
  if (notify.value) {
    notify.value = false;
    return;
  }
  const answer = await Notification.requestPermission();
  notify.value = answer === 'granted';
  if (!notify.value) say('The browser does not let this page notify you. Its settings for this page can change that.', { bad: true });
}

/** Until the signal aborts, notify of each agent that begins to wait, except of the one that is looked at. */
export function notifyOfWaiting(stop: AbortSignal): void {
  let before: ReadonlyMap<string, Doing> = new Map();
  const end = effect(() => {
    const after = new Map<string, Doing>();
    for (const agent of agents.value) {
      const [was, is] = [before.get(agent.id), doing(agent)];
      after.set(agent.id, is);
      // What waited when the page came is in the list already.
      if (is === 'waiting' && was !== undefined && was !== 'waiting') call(agent);
    }
    before = after;
  });
  stop.addEventListener('abort', end);
}

function call(agent: Agent): void {
  if (!notify.peek() || !canNotify() || Notification.permission !== 'granted' || isLookedAt(agent.id)) return;
  const { reason, title } = agent.session?.activity ?? {};
  try {
    // Several tabs have one together, by its tag.
    const notification = new Notification(`${agent.name} waits`, { body: reason ?? title ?? '', tag: `agentd-${agent.id}`, icon: '/favicon.svg' });
    notification.onclick = () => {
      window.focus();
      go(agentLink(agent.id));
      notification.close();
    };
  } catch {
    // Some phones have notifications of service workers only.
  }
}

function isLookedAt(id: string): boolean {
  const at = route.peek();
  return at.page === 'agent' && at.id === id && !document.hidden && document.hasFocus();
}
