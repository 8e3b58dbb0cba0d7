import { expect, test } from 'vitest';
import { filesOf } from '../../web/text/diff.ts';

const lines = (...all: string[]) => `${all.join('\n')}\n`;

test('a diff is files with their lines, counted', () => {
  const text = lines(
    'diff --git a/old name b/new name',
    'similarity index 60%',
    'rename from old name',
    'rename to new name',
    'index 1..2 100644',
    '--- a/old name\t',
    '+++ b/new name\t',
    '@@ -1,2 +1,3 @@ fn main',
    ' same',
    '-gone',
    '+diff --git a/x b/x',
    '++++ more',
    '\\ No newline at end of file',
    'diff --git a/gone b/gone',
    'deleted file mode 100644',
    '--- a/gone',
    '+++ /dev/null',
    '@@ -1 +0,0 @@',
    '-all',
  );
  const files = filesOf(text);
  expect(files.map(({ name, added, removed }) => [name, added, removed])).toEqual([['new name', 2, 1], ['gone', 0, 1]]);
  expect(files[0]?.lines.map(({ kind }) => kind)).toEqual(['remark', 'remark', 'place', 'same', 'removed', 'added', 'added', 'remark']);
  expect(files[1]?.lines[0]).toEqual({ kind: 'remark', text: 'deleted file' });
});

test('what has no lines is named all the same, and no text is no file', () => {
  const binary = lines('diff --git a/x.png b/x.png', 'index 1..2 100644', 'Binary files a/x.png and b/x.png differ');
  expect(filesOf(binary)).toEqual([
    { name: 'x.png', added: 0, removed: 0, lines: [{ kind: 'remark', text: 'Binary files a/x.png and b/x.png differ' }] },
  ]);
  const empty = lines('diff --git a/empty b/empty', 'new file mode 100644', 'index 0..0');
  expect(filesOf(empty)[0]?.name).toBe('empty');
  expect(filesOf('')).toEqual([]);
});
