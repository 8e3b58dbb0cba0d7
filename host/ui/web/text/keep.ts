import type { Keep } from '../service/wire.ts';

/** What a program does while no service is there and too much of its output waits, as it is chosen and shown. */
export const KEEPS: Record<Keep, string> = {
  block: 'it waits, and nothing is lost',
  drop: 'it goes on, and the oldest output is lost',
};
