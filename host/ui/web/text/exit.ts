import type { Agent, Exit } from '../service/wire.ts';

const SIGNALS: Record<number, string> = {
  1: 'SIGHUP',
  2: 'SIGINT',
  3: 'SIGQUIT',
  4: 'SIGILL',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  31: 'SIGSYS',
};

/** How something ended, in a few words. */
export function exitText(exit: Exit | null | undefined): string {
  const reason = exit?.reason ? ` (${exit.reason})` : '';
  if (exit?.signal !== undefined && exit.signal !== null) {
    return `ended by ${SIGNALS[exit.signal] ?? `signal ${exit.signal}`}${reason}`;
  }
  if (exit?.code !== undefined && exit.code !== null) return `exited with code ${exit.code}${reason}`;
  return exit?.reason ? `ended: ${exit.reason}` : 'ended';
}

/** The reason of an end that came because the whole service was asked to end. */
const SERVICE_STOPPED = 'service stopped';

/** The reason of one that somebody asked for begins so; this is a browser that is signed in. */
const STOPPED_BY = 'stopped by ';
const BROWSER = 'stopped by sign-in';

/** How the agent's last run ended, as whoever asked for it would say it. */
export function endText({ status }: Pick<Agent, 'status'>, exit: Exit | null | undefined): string {
  if (status !== 'stopped' || endedWell(exit)) return exitText(exit);
  const reason = exit?.reason ?? '';
  if (reason === SERVICE_STOPPED) return 'stopped with the service';
  if (reason.startsWith(BROWSER)) return reason.replace(BROWSER, 'stopped from this page');
  return reason.startsWith(STOPPED_BY) ? reason : 'stopped on request';
}

export const endedWell = (exit: Exit | null | undefined): boolean => exit?.code === 0 && (exit.signal ?? null) === null;
