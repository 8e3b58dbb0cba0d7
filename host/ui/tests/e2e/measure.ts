import { cpus, loadavg } from 'node:os';
import type { Page } from 'playwright-core';

declare global {
  interface Window {
    longest: number;
    watching: boolean;
  }
}

/** Watch for moments in which the page could not do anything. */
export function watchFreezes(page: Page): Promise<void> {
  return page.evaluate(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
    }).observe({ type: 'longtask' });
  });
}

/** The longest such moment so far, in milliseconds; anything below 50 counts as none. */
export const longestFreeze = (page: Page): Promise<number> => page.evaluate(() => window.longest);

/** So many milliseconds of a processor of one's own, on a machine that others use as well. */
export const shared = (ms: number): number => ms * Math.max(1, (loadavg()[0] ?? 0) / cpus().length);

export const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;

export const report = (what: string, figures: Record<string, string | number>): void =>
  console.log(`measured ${what}: ${Object.entries(figures).map(([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value * 10) / 10 : value}`).join(', ')} (load ${loadavg()[0]?.toFixed(1)} on ${cpus().length} processors)`);
