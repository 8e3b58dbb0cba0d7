const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

export const PALETTE_KEYS = isMac ? '⌘K' : 'Ctrl K';

/** The page's keys and what each does. */
export const SHORTCUTS: [string, string][] = [
  [PALETTE_KEYS, 'Go to an agent or do something. In a terminal, which has Ctrl K itself: Ctrl Shift K'],
  ['Ctrl Shift ↓', 'The next agent that waits'],
  ['/', 'Search what agents wrote, outside of fields and terminals'],
  ['?', 'This help, outside of fields and terminals'],
  ['Ctrl Shift ↑', 'Out of the terminal, to its buttons'],
  ['Ctrl Shift C / V', 'Copy and paste in the terminal'],
  ['Enter / Shift Enter', 'In a prompt: send it, begin a line'],
  ['↑ / ↓', 'In an empty prompt: what was sent before'],
  ['← / →', 'Between the tabs of an agent'],
];
