import { agentLink, lastList, listLink } from '../router.ts';
import { order } from '../prefs.ts';
import { agents } from '../service/agents.ts';
import { doing, DOINGS, sorted } from '../text/doing.ts';
import { isActive } from './actions.tsx';
import { Since } from './badge.tsx';

/** More of them are in the list. */
const MOST = 100;

/** The other agents, beside the one that is looked at. */
export function Side({ id, tab }: { id: string; tab: string | null }) {
  const all = sorted(agents.value, order.value);
  const shown = [...all.filter(isActive), ...all.filter((agent) => !isActive(agent))].slice(0, MOST);
  return (
    <nav class="side" aria-label="Agents">
      <ul>
        {shown.map((agent) => {
          const what = doing(agent);
          return (
            <li key={agent.id}>
              <a class={`status-${what}`} href={agentLink(agent.id, tab ?? undefined)} {...(agent.id === id ? { 'aria-current': 'page' } : {})}>
                <span class="mark" aria-hidden="true" />
                <span class="sr">{DOINGS[what]}: </span>
                <span class="name">{agent.name}</span>
                {what === 'waiting' && <Since agent={agent} />}
              </a>
            </li>
          );
        })}
      </ul>
      {all.length > MOST && <a href={listLink(lastList.value)}>All {all.length}</a>}
    </nav>
  );
}
