import { cpus, loadavg } from 'node:os';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

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

/** Fails when it took longer; only where times are asked for, as others may use the machine as well. */
export function isWithin(limit: number, ms: number): void {
  if (process.env.AGENTD_E2E_LIMITS) expect(ms).toBeLessThan(limit);
}

export const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;

export const report = (what: string, figures: Record<string, string | number>): void =>
  console.log(`measured ${what}: ${Object.entries(figures).map(([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value * 10) / 10 : value}`).join(', ')} (load ${loadavg()[0]?.toFixed(1)} on ${cpus().length} processors)`);
