/**
 * A command line as its words, with the quotes and backslashes of a shell and
 * nothing else of it: no variables, no globs, no pipes. Null while a quote is open.
 */
export function words(line: string): string[] | null {
  const result: string[] = [];
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let at = 0; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (quote) {
      if (char === quote) quote = null;
      else if (char === '\\' && quote === '"' && '"\\$`'.includes(line.charAt(at + 1))) word += line.charAt(++at);
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= '';
    } else if (char === '\\') {
      if (at + 1 >= line.length) return null;
      word = (word ?? '') + line.charAt(++at);
    } else if (/\s/.test(char)) {
      if (word !== null) result.push(word);
      word = null;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote) return null;
  if (word !== null) result.push(word);
  return result;
}

/** Words as a line that a shell would read back as the same words. */
export const line = (words: string[]): string =>
  words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
