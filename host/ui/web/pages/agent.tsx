import { useEffect, useState } from 'preact/hooks';
import { can, may, mayAll, me } from '../live.ts';
import { AgentActions, isActive } from '../parts/actions.tsx';
import { HealthBadge, Since, StatusBadge } from '../parts/badge.tsx';
import { Tool } from '../parts/button.tsx';
import { Changes } from '../parts/changes.tsx';
import { Composer } from '../parts/composer.tsx';
import { Details } from '../parts/details.tsx';
import { Logs } from '../parts/logs.tsx';
import { Recorded } from '../parts/recorded.tsx';
import { Side } from '../parts/side.tsx';
import { Panel, type Tab, Tabs } from '../parts/tabs.tsx';
import { sidebar } from '../prefs.ts';
import { agentLink, go, lastList, listLink, settle } from '../router.ts';
import { agentById, loaded, put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { TerminalView } from '../terminal/view.tsx';

/** What its backend can do decides which tabs there are; the first is shown unless another is asked for. */
function tabsOf(agent: Agent): Tab[] {
  const recorded = agent.session?.recording !== undefined;
  const tabs = [
    { id: 'logs', label: 'Logs' },
    ...(recorded ? [{ id: 'recording', label: 'Recording' }] : []),
    ...(mayAll() ? [{ id: 'changes', label: 'Changes' }] : []),
    { id: 'details', label: 'Details' },
  ];
  if (can(agent, 'terminal')) tabs.unshift({ id: 'terminal', label: 'Terminal' });
  return tabs;
}

interface Props {
  id: string;
  tab: string | null;
}

/** One agent, with the others beside it, which stay as they are from one to the next. */
export function AgentPage({ id, tab }: Props) {
  const beside = me.value?.agent === undefined && sidebar.value;
  return (
    <div class="beside">
      {beside && <Side id={id} tab={tab} />}
      <One key={id} id={id} tab={tab} />
    </div>
  );
}

/** Its terminal where there is one, its output, and everything about it. */
function One({ id, tab }: Props) {
  const agent = agentById(id);
  const [missing, setMissing] = useState<Problem | null>(null);
  const only = me.value?.agent !== undefined;

  // A link may come before the list, or lead to an agent that the list does not reach.
  const known = agent !== undefined;
  useEffect(() => {
    if (known) return;
    let gone = false;
    api.agent(id).then(
      (found) => !gone && put(found),
      (error: unknown) => !gone && setMissing(Problem.of(error)),
    );
    return () => {
      gone = true;
    };
  }, [id, known, loaded.value]);

  if (!agent) {
    if (missing === null) return <main class="page" id="main"><p class="faint">Loading…</p></main>;
    return (
      <main class="page" id="main">
        <h1>No such agent</h1>
        <p>{missing.status === 404 ? 'It may have been deleted.' : missing.message}</p>
        {!only && (
          <p>
            <a href={listLink(lastList.value)}>All agents</a>
          </p>
        )}
      </main>
    );
  }

  const tabs = tabsOf(agent);
  const chosen = tabs.find((one) => one.id === tab) ?? tabs[0];
  if (!chosen) return null;
  const { session } = agent;
  return (
    <main class="page agent-page" id="main">
      <div class="agent-head">
        {!only && <Tool icon="side" label="Other agents beside this one" pressed={sidebar.value} onClick={() => (sidebar.value = !sidebar.value)} />}
        <h1 title={session?.activity?.title ?? agent.name}>{agent.name}</h1>
        <StatusBadge agent={agent} />
        <Since agent={agent} />
        {session && session.health !== 'unknown' && <HealthBadge health={session.health} />}
        {session?.progress && <span class="faint progress">{session.progress}</span>}
        <Tabs label={`Views of ${agent.name}`} tabs={tabs} chosen={chosen.id} onChoose={(to) => settle(agentLink(id, to))} />
      </div>
      <AgentActions agent={agent} onRemoved={() => go(listLink(lastList.value))} />
      <Panel chosen={chosen.id}>
        {chosen.id === 'terminal' && session && <TerminalView key={id} agent={agent} />}
        {chosen.id === 'terminal' && !session && <p class="faint">Nothing has run yet.</p>}
        {chosen.id === 'logs' && <Logs agent={agent} />}
        {chosen.id === 'recording' && <Recorded key={id} agent={agent} />}
        {chosen.id === 'changes' && <Changes key={`${id} ${session?.created_at}`} agent={agent} />}
        {chosen.id === 'details' && <Details agent={agent} />}
      </Panel>
      {chosen.id !== 'details' && chosen.id !== 'recording' && may('write') && isActive(agent) && <Composer agents={[agent]} />}
    </main>
  );
}
