import type { Recording } from '../service/wire.ts';

/** How a recording is, for reading. */
export function recordingText({ state, reason }: Recording): string {
  if (state === 'recording') return 'Goes on';
  return reason ? `Ended: ${reason}` : 'Complete';
}
