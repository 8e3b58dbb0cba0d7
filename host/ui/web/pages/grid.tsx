import { can } from '../live.ts';
import { isActive } from '../parts/actions.tsx';
import { StatusBadge } from '../parts/badge.tsx';
import { gridColumns } from '../prefs.ts';
import { agentLink } from '../router.ts';
import { agents, loaded } from '../service/agents.ts';
import { TerminalView } from '../terminal/view.tsx';

/** As many as a page can show live and stay quick. */
const MOST = 16;

/** Several terminals at once, each live, none of them resized by being looked at here. */
export function GridPage() {
  const running = agents.value.filter(isActive).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const shown = running.slice(0, MOST);
  const columns = gridColumns.value;
  if (!can('terminal')) {
    return (
      <main class="page" id="main">
        <h1>Grid</h1>
        <p>This backend has no terminals to show.</p>
      </main>
    );
  }
  return (
    <main class="page grid-page" id="main">
      <div class="page-head">
        <h1>Grid</h1>
        <span class="faint">
          {running.length > MOST && `the first ${MOST} of `}
          {running.length === 1 ? '1 running agent' : `${running.length} running agents`}
        </span>
        <span class="gap" />
        <label>
          Columns{' '}
          <select value={columns} onChange={(event) => (gridColumns.value = Number(event.currentTarget.value))}>
            <option value={0}>as many as fit</option>
            {[1, 2, 3, 4].map((count) => (
              <option key={count} value={count}>
                {count}
              </option>
            ))}
          </select>
        </label>
      </div>
      {loaded.value && shown.length === 0 && <p class="faint">No agent is running.</p>}
      <ul class={`grid columns-${columns}`}>
        {shown.map((agent) => (
          <li key={agent.id} aria-label={agent.name}>
            <div class="tile-head">
              <a href={agentLink(agent.id)}>{agent.name}</a>
              <StatusBadge agent={agent} />
            </div>
            <TerminalView agent={agent} tile />
          </li>
        ))}
      </ul>
    </main>
  );
}
