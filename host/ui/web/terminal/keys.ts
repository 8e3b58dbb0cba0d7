/** Keys that a phone's keyboard lacks, and what each sends. */
export interface Key {
  label: string;
  name: string;
  send(applicationCursor: boolean): string;
}

const plain = (label: string, name: string, text: string): Key => ({ label, name, send: () => text });
const cursor = (label: string, name: string, final: string): Key => ({
  label,
  name,
  send: (application) => `\x1b${application ? 'O' : '['}${final}`,
});

export const KEYS: Key[] = [
  plain('Esc', 'Esc', '\x1b'),
  plain('⏎', 'Enter', '\r'),
  plain('⇧Tab', 'Shift Tab', '\x1b[Z'),
  plain('^C', 'Control C', '\x03'),
  plain('Tab', 'Tab', '\t'),
  cursor('←', 'Left', 'D'),
  cursor('↓', 'Down', 'B'),
  cursor('↑', 'Up', 'A'),
  cursor('→', 'Right', 'C'),
  plain('/', 'Slash', '/'),
  plain('|', 'Pipe', '|'),
  plain('-', 'Dash', '-'),
];

/**
 * What a character becomes while Ctrl is held: `c` is 0x03. Anything that has
 * no such code goes out as it is.
 */
export function withCtrl(text: string): string {
  const [first] = text;
  if (first === undefined || first.length !== text.length) return text;
  if (first === '?') return '\x7f';
  if (first === ' ') return '\0';
  const code = first.toUpperCase().charCodeAt(0);
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : text;
}

/**
 * Text to paste: line ends as Enter sends them, and nothing in it that could
 * end a bracketed paste early and so be typed as commands.
 */
export const safePaste = (text: string): string => text.replace(/\x1b\[20[01]~|\x9b20[01]~/g, '').replace(/\x1b/g, '');
