import { openHelp, openPalette, openSearch } from './opened.ts';
import { say } from './parts/toast.tsx';
import { agentLink, go, route } from './router.ts';
import { agents } from './service/agents.ts';
import { nextWaiting } from './text/doing.ts';

export function goToWaiting(): void {
  const at = route.peek();
  const agent = nextWaiting(agents.peek(), at.page === 'agent' ? at.id : null);
  if (agent) go(agentLink(agent.id));
  else say('No agent waits.');
}

/** Until the signal aborts, the page's own keys. They come before the terminal's. */
export function listenForKeys(stop: AbortSignal): void {
  addEventListener('keydown', pressed, { capture: true, signal: stop });
}

function pressed(event: KeyboardEvent): void {
  const act = actionOf(event);
  // A dialog has the keyboard for itself.
  if (!act || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

function actionOf({ code, key, target, ctrlKey, metaKey, shiftKey, altKey }: KeyboardEvent): (() => void) | null {
  if (altKey) return null;
  const inTerminal = target instanceof Element && target.closest('.xterm') !== null;
  const inField = target instanceof Element && target.closest('input, textarea, select') !== null;
  if (code === 'KeyK' && metaKey && !ctrlKey && !shiftKey) return openPalette;
  if (code === 'KeyK' && ctrlKey && !metaKey && (shiftKey || !inTerminal)) return openPalette;
  if (code === 'ArrowDown' && ctrlKey && shiftKey && !metaKey) return goToWaiting;
  if (key === '?' && !ctrlKey && !metaKey && !inField) return openHelp;
  if (key === '/' && !ctrlKey && !metaKey && !inField) return openSearch;
  return null;
}
