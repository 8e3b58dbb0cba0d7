import headless from '@xterm/headless';
import { expect, test } from 'vitest';
import { ignoreQueries } from '../../web/terminal/queries.ts';

const { Terminal } = headless;

/** What a terminal answers to a program that writes this. */
function answers(text: string, ignoring: boolean): Promise<string> {
  const terminal = new Terminal({ allowProposedApi: true });
  if (ignoring) ignoreQueries(terminal as unknown as Parameters<typeof ignoreQueries>[0]);
  let answered = '';
  terminal.onData((data) => {
    answered += data;
  });
  return new Promise((resolve) => terminal.write(text, () => resolve(answered)));
}

const QUERIES = {
  DA1: '\x1b[c',
  DA2: '\x1b[>c',
  DA3: '\x1b[=c',
  'status report': '\x1b[5n',
  'cursor position': '\x1b[6n',
  'DEC cursor position': '\x1b[?6n',
  'colour scheme': '\x1b[?996n',
  DECRQM: '\x1b[?2026$p',
  'ANSI DECRQM': '\x1b[4$p',
  DECRQSS: '\x1bP$qm\x1b\\',
  XTGETTCAP: '\x1bP+q544e\x1b\\',
  XTVERSION: '\x1b[>q',
  'kitty keyboard': '\x1b[?u',
  'window size': '\x1b[18t\x1b[14t\x1b[16t',
  DECREQTPARM: '\x1b[x',
  'foreground colour': '\x1b]10;?\x07',
  'background colour': '\x1b]11;?\x1b\\',
  'two colours': '\x1b]10;?;?\x07',
  'cursor colour': '\x1b]12;?\x07',
  palette: '\x1b]4;1;?;2;?\x07',
  clipboard: '\x1b]52;c;?\x07',
};

test.each(Object.entries(QUERIES))('%s is not answered by the page', async (_, query) => {
  expect(await answers(query, true)).toBe('');
});

test('xterm.js alone would answer the queries', async () => {
  expect(await answers('\x1b[c\x1b[6n\x1b[?2026$p', false)).not.toBe('');
});

test('other sequences still work', async () => {
  const terminal = new Terminal({ allowProposedApi: true });
  ignoreQueries(terminal as unknown as Parameters<typeof ignoreQueries>[0]);
  await new Promise<void>((resolve) => terminal.write('\x1b[?2004h\x1b]0;t\x07\x1b[3;5Hx', resolve));
  expect(terminal.modes.bracketedPasteMode).toBe(true);
  expect(terminal.buffer.active.getLine(2)?.translateToString(true)).toBe('    x');
});
