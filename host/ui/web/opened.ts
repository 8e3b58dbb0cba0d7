import { signal } from '@preact/signals';

/** Whether these are open, over whatever page. */
export const paletteOpen = signal(false);
export const helpOpen = signal(false);

export const openPalette = (): void => {
  paletteOpen.value = true;
};
export const openHelp = (): void => {
  helpOpen.value = true;
};
