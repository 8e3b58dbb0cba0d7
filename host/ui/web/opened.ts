import { signal } from '@preact/signals';
import type { FoundLine } from './service/wire.ts';

/** Whether these are open, over whatever page. */
export const paletteOpen = signal(false);
export const helpOpen = signal(false);
export const searchOpen = signal(false);

/** What is searched in the output of all agents. */
export const searchText = signal('');
/** A line that was found there, until the logs of its agent show it. */
export const lookedFor = signal<FoundLine | null>(null);

export const openPalette = (): void => {
  paletteOpen.value = true;
};
export const openHelp = (): void => {
  helpOpen.value = true;
};
/** What is looked for stays as it was, unless it is given. */
export const openSearch = (text?: string): void => {
  if (text !== undefined) searchText.value = text;
  searchOpen.value = true;
};
