import { useEffect, useState } from 'preact/hooks';
import { mayAll, now, uptime } from '../live.ts';
import { AgentActions } from '../parts/actions.tsx';
import { HealthBadge, StatusBadge } from '../parts/badge.tsx';
import { Button } from '../parts/button.tsx';
import { CreateDialog } from '../parts/create.tsx';
import { Labels } from '../parts/labels.tsx';
import { ProblemNote } from '../parts/problem.tsx';
import { agentLink } from '../router.ts';
import { agents, loaded, stale, total } from '../service/agents.ts';
import { lastLines, listenToLastLines } from '../service/lastlines.ts';
import type { Agent, Status } from '../service/wire.ts';
import { endText } from '../text/exit.ts';
import { hasLabels } from '../text/labels.ts';
import { duration } from '../text/time.ts';

const PAGE = 50;
const STATUSES: Status[] = ['pending', 'running', 'stopped', 'failed', 'lost'];

/** Every agent at a glance. */
export function AgentsPage() {
  const [creating, setCreating] = useState(false);
  const [name, setName] = useState('');
  const [label, setLabel] = useState('');
  const [status, setStatus] = useState('');
  const [page, setPage] = useState(0);

  const all = agents.value;
  const found = all.filter((agent) => (status === '' || agent.status === status) && agent.name.toLowerCase().includes(name.toLowerCase()) && hasLabels(agent.labels, label));
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(page, pages - 1);
  const shown = found.slice(at * PAGE, at * PAGE + PAGE);

  useEffect(() => {
    const stop = new AbortController();
    listenToLastLines(stop.signal);
    return () => stop.abort();
  }, []);

  return (
    <main class="page" id="main">
      <div class="page-head">
        <h1>Agents</h1>
        {loaded.value && total.value > 0 && <span class="faint">{total.value === 1 ? '1 agent' : `${total.value} agents`}</span>}
        <span class="gap" />
        {all.length > 0 && (
          <>
            <label class="search">
              <span class="sr">Filter by name</span>
              <input type="search" placeholder="Filter by name" value={name} onInput={(event) => setName(event.currentTarget.value)} />
            </label>
            <label class="search">
              <span class="sr">Filter by label</span>
              <input type="search" placeholder="Filter by label" value={label} onInput={(event) => setLabel(event.currentTarget.value)} />
            </label>
            <label>
              <span class="sr">Status</span>
              <select value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
                <option value="">Any status</option>
                {STATUSES.map((value) => (
                  <option key={value} value={value}>
                    {value}
                  </option>
                ))}
              </select>
            </label>
          </>
        )}
        {mayAll() && (
          <Button kind="main" onClick={() => setCreating(true)}>
            New agent
          </Button>
        )}
      </div>
      {!loaded.value && stale.value && <ProblemNote problem={stale.value} />}
      {!loaded.value && !stale.value && <p class="faint">Loading…</p>}
      {loaded.value && all.length === 0 && <NoAgents onCreate={() => setCreating(true)} />}
      {all.length > 0 && found.length === 0 && <p class="faint">No agent matches.</p>}
      {shown.length > 0 && <AgentTable agents={shown} />}
      {(pages > 1 || total.value > all.length) && (
        <nav class="pages" aria-label="Pages">
          <Button disabled={at === 0} onClick={() => setPage(at - 1)}>
            Newer
          </Button>
          <span>
            Page {at + 1} of {pages}
            {loaded.value && total.value > all.length && `, the newest ${all.length} of ${total.value}`}
          </span>
          <Button disabled={at >= pages - 1} onClick={() => setPage(at + 1)}>
            Older
          </Button>
        </nav>
      )}
      {creating && <CreateDialog onClose={() => setCreating(false)} />}
    </main>
  );
}

function NoAgents({ onCreate }: { onCreate(): void }) {
  return (
    <div class="empty card">
      <h2>No agents yet</h2>
      <p>An agent is a program, such as Claude Code or a shell, that runs in a directory of yours and keeps running when this page is closed.</p>
      {mayAll() && (
        <>
          <Button kind="main" onClick={onCreate}>
            Create the first agent
          </Button>
          <p class="faint">
            Or from a terminal: <code>agent orchestrator create</code>
          </p>
        </>
      )}
    </div>
  );
}

function AgentTable({ agents: rows }: { agents: Agent[] }) {
  return (
    <div class="table-box">
      <table class="agents">
        <caption class="sr">Agents</caption>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Status</th>
            <th scope="col">Health</th>
            <th scope="col">Backend</th>
            <th scope="col" class="number">
              Uptime
            </th>
            <th scope="col" class="number">
              Restarts
            </th>
            <th scope="col">Last line</th>
            <th scope="col">
              <span class="sr">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((agent) => (
            <AgentRow key={agent.id} agent={agent} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function AgentRow({ agent }: { agent: Agent }) {
  const up = uptime(agent);
  return (
    <tr data-agent={agent.id}>
      <th scope="row">
        <a href={agentLink(agent.id)}>{agent.name}</a>
        <Labels agent={agent} />
      </th>
      <td data-label="Status">
        <StatusBadge agent={agent} />
      </td>
      <td data-label="Health">
        <HealthBadge health={agent.session?.health} />
      </td>
      <td data-label="Backend">{agent.session?.backend_type ?? '–'}</td>
      <td data-label="Uptime" class="number" title={up === null ? undefined : `since ${new Date(now.value - up).toLocaleString()}`}>
        {up === null ? '–' : duration(up)}
      </td>
      <td data-label="Restarts" class="number">
        {agent.restarts}
      </td>
      <td data-label="Last line" class="last">
        <LastLine agent={agent} />
      </td>
      <td class="act">
        <AgentActions agent={agent} />
      </td>
    </tr>
  );
}

/** What an agent is doing, in a line: its progress while it starts, how it ended, else what it wrote last. */
function LastLine({ agent }: { agent: Agent }) {
  const line = lastLines.value.get(agent.id) ?? '';
  const { session } = agent;
  if (session?.progress && session.state !== 'running') return <span>{session.progress}</span>;
  if (session?.exit) {
    return (
      <span class="faint" title={line}>
        {endText(agent, session.exit)}
        {line !== '' && `: ${line}`}
      </span>
    );
  }
  return (
    <code title={line} class={line === '' ? 'faint' : ''}>
      {line === '' ? '–' : line}
    </code>
  );
}
