import { expect, test } from 'vitest';
import { plain } from '../../web/text/ansi.ts';
import { endedWell, endText, exitText } from '../../web/text/exit.ts';
import { duration } from '../../web/text/time.ts';
import { line, words } from '../../web/text/words.ts';

test.each([
  ['', []],
  ['  ls   -la ', ['ls', '-la']],
  [`sh -c 'echo "a b"'`, ['sh', '-c', 'echo "a b"']],
  [`echo "it's \\"so\\" \\n"`, ['echo', `it's "so" \\n`]],
  ['a\\ b', ['a b']],
  [`''`, ['']],
  [`a''b"c"`, ['abc']],
  ['$HOME *', ['$HOME', '*']],
  [`'open`, null],
  ['end\\', null],
])('words of %j', (text, expected) => {
  expect(words(text)).toEqual(expected);
});

test('a command line is parsed back to the same words', () => {
  const argv = ['tmux', '-L', 'a b', `it's`, '', '$x', 'a/b=c'];
  expect(words(line(argv))).toEqual(argv);
});

test.each([
  [-5, '0s'],
  [999, '0s'],
  [61_000, '1m 1s'],
  [3_600_000, '1h'],
  [90_061_000, '1d 1h'],
])('%i ms is %s', (ms, expected) => {
  expect(duration(ms)).toBe(expected);
});

test.each([
  [{ code: 0 }, 'exited with code 0'],
  [{ code: 3, reason: 'oom' }, 'exited with code 3 (oom)'],
  [{ signal: 9 }, 'ended by SIGKILL'],
  [{ signal: 63 }, 'ended by signal 63'],
  [{ reason: 'gone' }, 'ended: gone'],
  [null, 'ended'],
])('%j', (exit, expected) => {
  expect(exitText(exit)).toBe(expected);
});

test('a stop that was asked for is not called a failure', () => {
  expect(endText({ status: 'stopped' }, { signal: 1 })).toBe('stopped on request');
  expect(endText({ status: 'stopped' }, { code: 137 })).toBe('stopped on request');
  expect(endText({ status: 'stopped' }, { code: 0 })).toBe('exited with code 0');
  expect(endText({ status: 'stopped' }, { signal: 1, reason: 'service stopped' })).toBe('stopped with the service');
  expect(endText({ status: 'stopped' }, { signal: 1, reason: 'stopped by ci' })).toBe('stopped by ci');
  expect(endText({ status: 'stopped' }, { signal: 1, reason: 'stopped by sign-in; killed' })).toBe('stopped from this page; killed');
  expect(endText({ status: 'stopped' }, { code: 0, reason: 'stopped by ci' })).toBe('exited with code 0 (stopped by ci)');
  expect(endText({ status: 'failed' }, { signal: 1 })).toBe('ended by SIGHUP');
});

test('only exit code 0 is a success', () => {
  expect(endedWell({ code: 0 })).toBe(true);
  expect(endedWell({ code: 1 })).toBe(false);
  expect(endedWell({ signal: 15 })).toBe(false);
  expect(endedWell(null)).toBe(false);
});

test('control sequences are not text', () => {
  expect(plain('\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1b(B\rtab\there')).toBe('red linktab\there');
});
