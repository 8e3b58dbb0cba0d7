import { effect, type Signal, signal } from '@preact/signals';
import type { Drawing } from './terminal/draw.ts';

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

const oneOf = (...values: unknown[]) => (value: unknown) => values.includes(value);

export type Theme = 'system' | 'light' | 'dark';

export const theme = kept<Theme>('theme', 'system', oneOf('system', 'light', 'dark'));
export const fontSize = kept('font', 14, (value) => typeof value === 'number' && value >= 6 && value <= 32);
/** Whether a screen reader is given the terminal's text. */
export const reader = kept('reader', false, oneOf(true, false));
/** How terminals are drawn: `auto` is WebGL where there is a graphics card. */
export const drawing = kept<Drawing>('drawing', 'auto', oneOf('auto', 'webgl', 'elements'));
export const gridColumns = kept('grid', 0, oneOf(0, 1, 2, 3, 4));
export const lastDirectory = kept('directory', '', (value) => typeof value === 'string');

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
