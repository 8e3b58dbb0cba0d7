import { useState } from 'preact/hooks';
import { can } from '../live.ts';
import { isActive } from '../parts/actions.tsx';
import { Since, StatusBadge } from '../parts/badge.tsx';
import { Button, Tool } from '../parts/button.tsx';
import { gridChosen, gridColumns, gridPage, type GridShow, gridShow } from '../prefs.ts';
import { agentLink } from '../router.ts';
import { agents, canSome, loaded } from '../service/agents.ts';
import type { Agent } from '../service/wire.ts';
import { sorted, waiting } from '../text/doing.ts';
import { TerminalView } from '../terminal/view.tsx';

const SHOWS: Record<GridShow, string> = { running: 'All that run', waiting: 'Those that wait', chosen: 'Those I chose' };
const NONE: Record<GridShow, string> = {
  running: 'No agent is running.',
  waiting: 'No agent waits.',
  chosen: 'None is chosen: tick some in the list of agents, then “Grid”.',
};

function wanted(show: GridShow): Agent[] {
  const all = agents.value.filter((agent) => can(agent, 'terminal'));
  if (show === 'waiting') return waiting(all);
  const byName = sorted(all, 'name');
  if (show === 'running') return byName.filter(isActive);
  return byName.filter(({ id, session }) => session && gridChosen.value.includes(id));
}

/** Several terminals at once, each live, none of them resized by being looked at here. */
export function GridPage() {
  const [page, setPage] = useState(0);
  if (!canSome('terminal')) {
    return (
      <main class="page" id="main">
        <h1>Grid</h1>
        <p>There are no terminals to show.</p>
      </main>
    );
  }
  const show = gridShow.value;
  const all = wanted(show);
  const pages = Math.max(1, Math.ceil(all.length / gridPage.value));
  const at = Math.min(page, pages - 1);
  const shown = all.slice(at * gridPage.value, (at + 1) * gridPage.value);
  return (
    <main class="page grid-page" id="main">
      <div class="page-head">
        <h1>Grid</h1>
        <span class="faint">{all.length === 1 ? '1 agent' : `${all.length} agents`}</span>
        {pages > 1 && (
          <nav class="pages" aria-label="Pages of the grid">
            <Button disabled={at === 0} onClick={() => setPage(at - 1)}>
              Back
            </Button>
            <span>
              {at + 1} of {pages}
            </span>
            <Button disabled={at >= pages - 1} onClick={() => setPage(at + 1)}>
              On
            </Button>
          </nav>
        )}
        <span class="gap" />
        <label>
          <span class="sr">Show</span>
          <select value={show} onChange={(event) => (gridShow.value = event.currentTarget.value as GridShow)}>
            {Object.entries(SHOWS).map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span class="sr">On a page</span>
          <select value={gridPage.value} onChange={(event) => (gridPage.value = Number(event.currentTarget.value))}>
            {[4, 9, 16].map((count) => (
              <option key={count} value={count}>
                {count} on a page
              </option>
            ))}
          </select>
        </label>
        <label>
          <span class="sr">Columns</span>
          <select value={gridColumns.value} onChange={(event) => (gridColumns.value = Number(event.currentTarget.value))}>
            <option value={0}>Columns as they fit</option>
            {[1, 2, 3, 4].map((count) => (
              <option key={count} value={count}>
                {count === 1 ? '1 column' : `${count} columns`}
              </option>
            ))}
          </select>
        </label>
      </div>
      {loaded.value && shown.length === 0 && <p class="faint">{NONE[show]}</p>}
      <ul class={`grid columns-${gridColumns.value}`}>
        {shown.map((agent) => (
          <li key={agent.id} aria-label={agent.name}>
            <div class="tile-head">
              <a href={agentLink(agent.id)}>{agent.name}</a>
              <StatusBadge agent={agent} />
              <Since agent={agent} />
              {show === 'chosen' && (
                <Tool
                  icon="close"
                  label={`Take ${agent.name} out of the grid`}
                  onClick={() => (gridChosen.value = gridChosen.value.filter((id) => id !== agent.id))}
                />
              )}
            </div>
            <TerminalView agent={agent} tile />
          </li>
        ))}
      </ul>
    </main>
  );
}
