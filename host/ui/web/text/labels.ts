import { line, words } from './words.ts';

const KEY = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/;

/** A label as it is shown. */
export const labelText = (key: string, value: string): string => (value === '' ? key : `${key}=${value}`);

/** Labels as `parseLabels` reads them. */
export const labelsLine = (labels: Record<string, string> = {}): string => line(Object.entries(labels).map(([key, value]) => labelText(key, value)));

/** Labels as a person types them: `key=value` or `key`, with spaces between them and quotes around a value that has some. */
export function parseLabels(text: string): { labels: Record<string, string>; complaint: string | null } {
  const labels: Record<string, string> = {};
  const parts = words(text);
  if (parts === null) return { labels, complaint: 'A quote is not closed.' };
  for (const part of parts) {
    const at = part.indexOf('=');
    const key = at < 0 ? part : part.slice(0, at);
    if (!KEY.test(key)) {
      return { labels, complaint: `“${key}” is not the key of a label: letters, digits, . _ / and -, beginning with a letter or a digit.` };
    }
    labels[key] = at < 0 ? '' : part.slice(at + 1);
  }
  return { labels, complaint: null };
}
