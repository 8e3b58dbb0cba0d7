/** How long to wait before the n-th try in a row: at once, then longer each time, up to five seconds, a little at random. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  if (attempt <= 0) return 0;
  const base = Math.min(5000, 250 * 2 ** (attempt - 1));
  return Math.round(base * (0.8 + 0.4 * random()));
}
