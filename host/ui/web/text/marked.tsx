import type { ComponentChild } from 'preact';

/** A line with the searched text marked in it. */
export function marked(line: string, search: string): ComponentChild {
  if (search === '') return line;
  const parts: ComponentChild[] = [];
  const lower = line.toLowerCase();
  const wanted = search.toLowerCase();
  let at = 0;
  for (let found = lower.indexOf(wanted); found >= 0; found = lower.indexOf(wanted, at)) {
    parts.push(line.slice(at, found), <mark>{line.slice(found, found + wanted.length)}</mark>);
    at = found + wanted.length;
  }
  parts.push(line.slice(at));
  return parts;
}
