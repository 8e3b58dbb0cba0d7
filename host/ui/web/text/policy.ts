import type { Agent, RestartPolicy } from '../service/wire.ts';

/** After which ends an agent is started again, as it is chosen and shown. */
export const POLICIES: { value: RestartPolicy; label: string }[] = [
  { value: 'never', label: 'never' },
  { value: 'on-failure', label: 'after a failure' },
  { value: 'always', label: 'after each end' },
];

/** How an agent is started again, as it is typed. */
export interface PolicyDraft {
  restart: RestartPolicy;
  /** How often in a row at most; empty is without a bound. */
  max: string;
}

/** An agent's policy, as somebody would type it. */
export const policyDraft = ({ restart, max_restarts }: Pick<Agent, 'restart' | 'max_restarts'>): PolicyDraft => ({
  restart: restart ?? 'never',
  max: max_restarts === undefined ? '' : String(max_restarts),
});

/** The bound that was typed; null is none. */
export function parseMax(text: string): { max: number | null; complaint: string | null } {
  const typed = text.trim();
  if (typed === '') return { max: null, complaint: null };
  if (!/^\d{1,9}$/.test(typed)) return { max: null, complaint: 'A whole number, or nothing for no bound.' };
  return { max: Number(typed), complaint: null };
}
