import { useEffect } from 'preact/hooks';
import { mayAll } from '../live.ts';
import { Button, Tool } from '../parts/button.tsx';
import { ChosenBar } from '../parts/chosen.tsx';
import { askNew } from '../parts/create.tsx';
import { useHeld } from '../parts/held.ts';
import { ProblemNote } from '../parts/problem.tsx';
import { AgentRows } from '../parts/rows.tsx';
import { order } from '../prefs.ts';
import { listLink, settle } from '../router.ts';
import { agentById, agents, areSomeElsewhere, loaded, stale, total } from '../service/agents.ts';
import { listenToLastLines } from '../service/lastlines.ts';
import { type Doing, doing, DOINGS, type Order, sorted } from '../text/doing.ts';
import { backendsOf, count, found as search, type List } from '../text/list.ts';

const PAGE = 50;
const ORDERS: Record<Order, string> = { waiting: 'Waits longest', created: 'Newest', name: 'By name' };

/** Every agent at a glance. What is listed is in the address, so that one can go back to it. */
export function AgentsPage({ list }: { list: List }) {
  const all = agents.value;
  const backends = backendsOf(all);
  const matching = search(all, list);
  const found = sorted(
    list.doing === '' ? matching : matching.filter((agent) => doing(agent) === list.doing),
    order.value,
  );
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(list.page, pages - 1);
  const here = found.slice(at * PAGE, at * PAGE + PAGE);
  const { ids, held, wiring } = useHeld(
    JSON.stringify([list, order.value]),
    here.map(({ id }) => id),
  );
  const shown = ids.flatMap((id) => agentById(id) ?? []);
  const change = (to: Partial<List>) => settle(listLink({ ...list, page: 0, ...to }));

  useEffect(() => {
    const stop = new AbortController();
    listenToLastLines(areSomeElsewhere, stop.signal);
    return () => stop.abort();
  }, []);

  return (
    <main class="page agents-page" id="main">
      <div class="page-head">
        <h1>Agents</h1>
        {all.length > 0 && (
          <>
            <Chips counts={count(matching)} total={matching.length} only={list.doing} onChoose={(only) => change({ doing: only })} />
            <span class="gap" />
            <label class="search">
              <span class="sr">Find</span>
              <input
                type="search"
                placeholder="Name, label, directory"
                value={list.text}
                onInput={(event) => change({ text: event.currentTarget.value })}
              />
            </label>
            {(backends.length > 1 || list.backend !== '') && (
              <label>
                <span class="sr">Backend</span>
                <select value={list.backend} onChange={(event) => change({ backend: event.currentTarget.value })}>
                  <option value="">All backends</option>
                  {[...new Set([...backends, ...(list.backend === '' ? [] : [list.backend])])].map((name) => (
                    <option key={name} value={name}>
                      {name}
                    </option>
                  ))}
                </select>
              </label>
            )}
            <label>
              <span class="sr">Order</span>
              <select value={order.value} onChange={(event) => (order.value = event.currentTarget.value as Order)}>
                {Object.entries(ORDERS).map(([value, label]) => (
                  <option key={value} value={value}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
          </>
        )}
        {mayAll() && (
          <Button kind="main" onClick={() => askNew()}>
            New agent
          </Button>
        )}
      </div>
      {list.labels.length > 0 && (
        <ul class="labels filters" aria-label="Only agents with">
          {list.labels.map((label) => (
            <li key={label}>
              <span>{label}</span>
              <Tool icon="close" label={`Also without ${label}`} onClick={() => change({ labels: list.labels.filter((other) => other !== label) })} />
            </li>
          ))}
        </ul>
      )}
      {!loaded.value && stale.value && <ProblemNote problem={stale.value} />}
      {!loaded.value && !stale.value && <p class="faint">Loading…</p>}
      {loaded.value && all.length === 0 && <NoAgents />}
      {all.length > 0 && shown.length === 0 && <p class="faint">No agent matches.</p>}
      {shown.length > 0 && (
        <AgentRows agents={shown} held={held} withBackend={backends.length > 1} wiring={wiring} onLabel={(label) => change({ labels: [...new Set([...list.labels, label])] })} />
      )}
      {(pages > 1 || total.value > all.length) && (
        <nav class="pages" aria-label="Pages of agents">
          <Button disabled={at === 0} onClick={() => change({ page: at - 1 })}>
            Back
          </Button>
          <span>
            Page {at + 1} of {pages}
            {loaded.value && total.value > all.length && `, of the newest ${all.length} of ${total.value}`}
          </span>
          <Button disabled={at >= pages - 1} onClick={() => change({ page: at + 1 })}>
            On
          </Button>
        </nav>
      )}
      <ChosenBar listed={found} />
    </main>
  );
}

interface ChipsProps {
  counts: Map<Doing, number>;
  total: number;
  only: Doing | '';
  onChoose(only: Doing | ''): void;
}

/** How many do what; each is a choice. */
function Chips({ counts, total: all, only, onChoose }: ChipsProps) {
  const chips = Object.entries(DOINGS).filter(([what]) => counts.has(what as Doing) || what === only) as [Doing, string][];
  return (
    <div class="chips" role="group" aria-label="Show">
      <button type="button" aria-pressed={only === ''} onClick={() => onChoose('')}>
        All <span class="number">{all}</span>
      </button>
      {chips.map(([what, label]) => (
        <button key={what} type="button" class={`status-${what}`} aria-pressed={only === what} onClick={() => onChoose(only === what ? '' : what)}>
          <span class="mark" aria-hidden="true" />
          {label} <span class="number">{counts.get(what) ?? 0}</span>
        </button>
      ))}
    </div>
  );
}

function NoAgents() {
  return (
    <div class="empty card">
      <h2>No agents yet</h2>
      <p>An agent is a program, such as Claude Code or a shell, that runs in a directory of yours and keeps running when this page is closed.</p>
      {mayAll() && (
        <>
          <Button kind="main" onClick={() => askNew()}>
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
