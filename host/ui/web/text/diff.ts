/** What has changed in a file, as `git diff` prints it. */
export interface FileDiff {
  name: string;
  added: number;
  removed: number;
  lines: DiffLine[];
}

export interface DiffLine {
  kind: 'added' | 'removed' | 'same' | 'place' | 'remark';
  text: string;
}

const KINDS: Record<string, DiffLine['kind']> = { '+': 'added', '-': 'removed', ' ': 'same', '@': 'place' };
/** What is above the lines of a file and says nothing to a person that the rest does not. */
const PLUMBING = /^(index |--- |\+\+\+ |similarity index |dissimilarity index |old mode |new mode )/;

/** The files of a diff, in its order. */
export function filesOf(text: string): FileDiff[] {
  return text
    .split(/^(?=diff --git )/m)
    .filter((part) => part.startsWith('diff --git '))
    .map(fileOf);
}

function fileOf(part: string): FileDiff {
  const [first = '', ...rest] = part.replace(/\n$/, '').split('\n');
  const start = rest.findIndex((line) => line.startsWith('@@'));
  const head = start < 0 ? rest : rest.slice(0, start);
  const notes = head.filter((line) => !PLUMBING.test(line)).map((line): DiffLine => ({ kind: 'remark', text: said(line) }));
  const body = start < 0 ? [] : rest.slice(start).map((line): DiffLine => ({ kind: KINDS[line[0] ?? ' '] ?? 'remark', text: line }));
  const count = (kind: DiffLine['kind']) => body.filter((line) => line.kind === kind).length;
  return { name: nameOf(first, head), added: count('added'), removed: count('removed'), lines: [...notes, ...body] };
}

/** In words of people, where git has modes. */
const said = (line: string): string => line.replace(/^(new|deleted) file mode \d+$/, '$1 file');

/** By what it is called now, or was before it went. */
function nameOf(first: string, head: string[]): string {
  for (const [begin, prefix] of [['+++ ', 'b/'], ['rename to ', ''], ['--- ', 'a/']] as const) {
    const line = head.find((one) => one.startsWith(begin) && one !== `${begin}/dev/null`);
    // After a name with a space in it there is a tab.
    const name = line?.slice(begin.length).replace(/\t$/, '');
    if (name !== undefined) return name.replace(prefix, '');
  }
  return first.replace(/^diff --git a\//, '').replace(/ b\/.*/, '');
}
