import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import { may } from '../live.ts';
import { agentLink } from '../router.ts';
import { lastLines } from '../service/lastlines.ts';
import type { Agent } from '../service/wire.ts';
import { doing } from '../text/doing.ts';
import { endText } from '../text/exit.ts';
import { kindOf, shortPath } from '../text/kind.ts';
import { AgentActions } from './actions.tsx';
import { HealthBadge, Since, StatusBadge } from './badge.tsx';
import { Labels } from './labels.tsx';
import { QuickKeys } from './quick.tsx';

/** The ids of those that something is to be done with together. */
export const chosen = signal<ReadonlySet<string>>(new Set());

export function choose(id: string, on: boolean): void {
  const next = new Set(chosen.value);
  if (on) next.add(id);
  else next.delete(id);
  chosen.value = next;
}

interface RowsProps {
  agents: Agent[];
  /** Whether nothing in them may move. */
  held: boolean;
  /** Whether not all are of the same backend. */
  withBackend: boolean;
  wiring: JSX.HTMLAttributes<HTMLUListElement>;
  onLabel(label: string): void;
}

/** Agents in two lines each. What is the same for all, such as the backend, is not in them. */
export function AgentRows({ agents, held, withBackend, wiring, onLabel }: RowsProps) {
  return (
    <ul class="rows" aria-label="Agents" {...wiring}>
      {agents.map((agent) => (
        <AgentRow key={agent.id} agent={agent} held={held} withBackend={withBackend} onLabel={onLabel} />
      ))}
    </ul>
  );
}

function AgentRow({ agent, held, withBackend, onLabel }: Pick<RowsProps, 'held' | 'withBackend' | 'onLabel'> & { agent: Agent }) {
  const { session } = agent;
  const what = doing(agent);
  const waits = what === 'waiting';
  // Under the pointer its keys keep their place when it has been answered.
  const hasKeys = useRef(false);
  hasKeys.current = waits || (held && hasKeys.current);
  return (
    <li data-agent={agent.id} class={`agent is-${what}`}>
      {may('write') && (
        <label class="pick">
          <input
            type="checkbox"
            aria-label={`Choose ${agent.name}`}
            checked={chosen.value.has(agent.id)}
            onChange={(event) => choose(agent.id, event.currentTarget.checked)}
          />
        </label>
      )}
      <div class="what">
        <div class="first">
          <a class="name" href={agentLink(agent.id)}>
            {agent.name}
          </a>
          {session && <span class="kind">{kindOf(agent)}</span>}
          {session && withBackend && <span class="kind">{session.backend_type}</span>}
          {session && (
            <span class="where" title={session.working_dir}>
              {shortPath(session.working_dir)}
            </span>
          )}
          <Labels agent={agent} onChoose={onLabel} />
        </div>
        <div class="second">
          <Preview agent={agent} />
        </div>
      </div>
      {hasKeys.current && may('write') && <QuickKeys agent={agent} waits={waits} />}
      <div class="how">
        <StatusBadge agent={agent} />
        <div class="more">
          <Since agent={agent} />
          {agent.restarts > 0 && <span>{agent.restarts === 1 ? '1 restart' : `${agent.restarts} restarts`}</span>}
          {session && session.health !== 'unknown' && <HealthBadge health={session.health} />}
        </div>
      </div>
      <AgentActions agent={agent} />
    </li>
  );
}

/** What an agent is at, in a line: its progress while it starts, how it ended, else what it asks and wrote last. */
function Preview({ agent }: { agent: Agent }) {
  const line = lastLines.value.get(agent.id) ?? '';
  const { session } = agent;
  if (session?.progress && session.state !== 'running') return <span>{session.progress}</span>;
  if (session?.exit) {
    return (
      <span title={line}>
        {endText(agent, session.exit)}
        {line !== '' && `: ${line}`}
      </span>
    );
  }
  const said = session?.activity?.reason ?? session?.activity?.title ?? '';
  return (
    <>
      {said !== '' && said !== line && <span class="said">{said}</span>}
      <code title={line}>{line === '' ? '–' : line}</code>
    </>
  );
}
