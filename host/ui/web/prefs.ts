import { effect, type Signal, signal } from '@preact/signals';
import type { Drawing } from './terminal/draw.ts';
import type { Order } from './text/doing.ts';

/** A choice of the person that outlives the page. */
function kept<T>(name: string, fallback: T, allowed: (value: unknown) => boolean): Signal<T> {
  const storage = `agentd-${name}`;
  const chosen = signal(fallback);
  try {
    const value: unknown = JSON.parse(localStorage.getItem(storage) ?? 'null');
    if (value !== null && allowed(value)) chosen.value = value as T;
  } catch {
    // Storage off or unreadable: the fallback serves.
  }
  let first = true;
  effect(() => {
    const { value } = chosen;
    if (first) {
      first = false;
      return;
    }
    try {
      localStorage.setItem(storage, JSON.stringify(value));
    } catch {
      // Then it lasts as long as the page.
    }
  });
  return chosen;
}

const isTexts = (value: unknown) => Array.isArray(value) && value.every((text) => typeof text === 'string');
const oneOf = (...values: unknown[]) => (value: unknown) => values.includes(value);

export type Theme = 'system' | 'light' | 'dark';

export const THEMES: { value: Theme; label: string }[] = [
  { value: 'system', label: 'System' },
  { value: 'light', label: 'Light' },
  { value: 'dark', label: 'Dark' },
];

export const theme = kept<Theme>('theme', 'system', oneOf('system', 'light', 'dark'));
export const fontSize = kept('font', 14, (value) => typeof value === 'number' && value >= 6 && value <= 32);
/** Whether a screen reader is given the terminal's text. */
export const reader = kept('reader', false, oneOf(true, false));
/** How terminals are drawn: `auto` is WebGL where there is a graphics card. */
export const drawing = kept<Drawing>('drawing', 'auto', oneOf('auto', 'webgl', 'elements'));
export const order = kept<Order>('order', 'waiting', oneOf('waiting', 'created', 'name'));
/** Whether an agent's page shows the others beside it. */
export const sidebar = kept('sidebar', true, oneOf(true, false));
/** Whether the browser notifies when an agent waits. */
export const notify = kept('notify', false, oneOf(true, false));

export const gridColumns = kept('grid', 0, oneOf(0, 1, 2, 3, 4));
/** How many terminals are on a page of the grid: each is live, and a page stays quick with sixteen. */
export const gridPage = kept('grid-page', 9, oneOf(4, 9, 16));
export type GridShow = 'running' | 'waiting' | 'chosen';
export const gridShow = kept<GridShow>('grid-show', 'running', oneOf('running', 'waiting', 'chosen'));
/** The ids of those that were chosen for it. */
export const gridChosen = kept<string[]>('grid-chosen', [], isTexts);

/** Where agents were started, the last one first. */
export const directories = kept<string[]>('directories', [], isTexts);
const DIRECTORIES = 12;

export function rememberDirectory(path: string): void {
  directories.value = [path, ...directories.value.filter((other) => other !== path)].slice(0, DIRECTORIES);
}

const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(system.matches);
system.addEventListener('change', () => {
  systemDark.value = system.matches;
});

/** Whether the page is dark now. */
export const isDark = (): boolean => (theme.value === 'system' ? systemDark.value : theme.value === 'dark');

/** Show the page in the chosen theme, now and when it changes. */
export function applyTheme(): void {
  effect(() => {
    document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
  });
}
