import { expect, test } from 'vitest';
import { KEYS, safePaste, withCtrl } from '../../web/terminal/keys.ts';

test.each([
  ['c', '\x03'],
  ['C', '\x03'],
  ['[', '\x1b'],
  [' ', '\0'],
  ['?', '\x7f'],
  ['1', '1'],
  ['é', 'é'],
  ['ab', 'ab'],
  ['', ''],
])('Ctrl and %j', (text, expected) => {
  expect(withCtrl(text)).toBe(expected);
});

test('arrows follow the mode that the program chose', () => {
  const up = KEYS.find(({ name }) => name === 'Up');
  expect(up?.send(false)).toBe('\x1b[A');
  expect(up?.send(true)).toBe('\x1bOA');
});

test.each([
  ['safe', 'safe'],
  ['a\x1b[201~rm -rf /\n', 'arm -rf /\n'],
  ['a\x9b201~b', 'ab'],
  // Taking one out must not make another.
  ['\x1b[20\x1b[201~1~x', '[201~x'],
])('pasting %j', (text, expected) => {
  expect(safePaste(text)).toBe(expected);
});
