import { effect, type ReadonlySignal, signal } from '@preact/signals';
import { plain } from '../text/ansi.ts';
import { follow } from './events.ts';

/** The newest line of each agent's output, by agent id, for the list. */
export const lastLines = signal<ReadonlyMap<string, string>>(new Map());

/** Show the last of these lines with something on it. */
export function showLastLine(id: string, lines: string[]): void {
  const line = lastOf(lines);
  if (lastLines.value.get(id) === line) return;
  lastLines.value = new Map(lastLines.value).set(id, line);
}

export function forgetLastLine(id: string): void {
  if (!lastLines.value.has(id)) return;
  const next = new Map(lastLines.value);
  next.delete(id);
  lastLines.value = next;
}

/**
 * Until `stop`, and while they are wanted and the page can be seen: listen to the last lines of all agents. Those
 * with a terminal come with the events anyway; for the others the service follows logs, which it does only
 * while somebody asks for that.
 */
export function listenToLastLines(wanted: ReadonlySignal<boolean>, stop: AbortSignal): void {
  const visible = signal(!document.hidden);
  const seen = () => {
    visible.value = !document.hidden;
  };
  document.addEventListener('visibilitychange', seen);
  const end = effect(() => {
    if (!wanted.value || !visible.value) return;
    const listening = new AbortController();
    const output = ({ id, lines }: { id: string; lines: string[] }) => showLastLine(id, lines);
    // Changes, and that the service cannot be reached, are learned by those who keep the list.
    const nothing = () => {};
    void follow({ open: nothing, change: nothing, lost: nothing, output }, listening.signal, 'all');
    return () => listening.abort();
  });
  stop.addEventListener('abort', () => {
    document.removeEventListener('visibilitychange', seen);
    end();
  });
}

function lastOf(lines: string[]): string {
  return lines.map((line) => plain(line).trim()).findLast((line) => line !== '') ?? '';
}
