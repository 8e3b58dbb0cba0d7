import { now } from '../live.ts';
import type { Agent, Health } from '../service/wire.ts';
import { doing, DOINGS, since } from '../text/doing.ts';
import { duration } from '../text/time.ts';

/** What an agent does as a word with a mark whose shape, not only its colour, shows it. */
export function StatusBadge({ agent }: { agent: Agent }) {
  const what = doing(agent);
  const unknown = agent.session?.state === 'unknown';
  return (
    <span class={`badge status-${what}`} title={agent.session?.activity?.reason}>
      <span class="mark" aria-hidden="true" />
      {DOINGS[what] ?? what}
      {unknown && <span class="faint"> (not sure)</span>}
    </span>
  );
}

/** How long it has been doing that. */
export function Since({ agent }: { agent: Agent }) {
  const from = since(agent);
  if (from === null) return null;
  return (
    <span class="since" title={`since ${new Date(from).toLocaleString()}`}>
      {duration(now.value - from)}
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
