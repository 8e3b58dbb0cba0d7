import type { Agent, Health } from '../service/wire.ts';

const WORDS: Record<Agent['status'], string> = {
  pending: 'Pending',
  running: 'Running',
  stopped: 'Stopped',
  failed: 'Failed',
  lost: 'Lost',
};

/** An agent's status as a word with a mark whose shape, not only its colour, shows it. */
export function StatusBadge({ agent }: { agent: Agent }) {
  const unknown = agent.session?.state === 'unknown';
  return (
    <span class={`badge status-${agent.status}`}>
      <span class="mark" aria-hidden="true" />
      {WORDS[agent.status] ?? agent.status}
      {unknown && <span class="faint"> (not sure)</span>}
    </span>
  );
}

export function HealthBadge({ health }: { health: Health | undefined }) {
  if (!health || health === 'unknown') {
    return (
      <span class="faint" title="There is no health check.">
        unknown
      </span>
    );
  }
  return (
    <span class={`badge health-${health}`}>
      <span class="mark" aria-hidden="true" />
      {health}
    </span>
  );
}
