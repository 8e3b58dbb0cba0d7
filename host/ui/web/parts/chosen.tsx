import { useEffect } from 'preact/hooks';
import { can, may, mayAll } from '../live.ts';
import { gridChosen, gridShow } from '../prefs.ts';
import { go, gridLink } from '../router.ts';
import { agents } from '../service/agents.ts';
import { writeDraft } from '../service/prompts.ts';
import type { Agent } from '../service/wire.ts';
import { askRemove, askStop, isActive, restart } from './actions.tsx';
import { Button, Tool } from './button.tsx';
import { Composer } from './composer.tsx';
import { askLabels } from './relabel.tsx';
import { chosen } from './rows.tsx';

/** The text for them stays theirs, however many are left. */
const DRAFT = 'chosen';

const none = () => {
  chosen.value = new Set();
};

/** What can be done with the chosen agents together. `listed` are those that could be chosen. */
export function ChosenBar({ listed }: { listed: Agent[] }) {
  const all = agents.value.filter(({ id }) => chosen.value.has(id));
  const some = all.length > 0;
  useEffect(() => {
    // Else it would wait for whoever is chosen next.
    if (!some) writeDraft(DRAFT, '');
  }, [some]);
  if (!some) return null;
  const active = all.filter(isActive);
  return (
    <section class="chosen" aria-label="Chosen agents">
      <div class="bar">
        <strong role="status">{all.length} chosen</strong>
        {listed.some(({ id }) => !chosen.value.has(id)) && (
          <Button onClick={() => (chosen.value = new Set([...chosen.value, ...listed.map(({ id }) => id)]))}>All {listed.length}</Button>
        )}
        <span class="gap" />
        {all.some((agent) => can(agent, 'terminal')) && (
          <Button
            onClick={() => {
              gridChosen.value = all.filter((agent) => can(agent, 'terminal')).map(({ id }) => id);
              gridShow.value = 'chosen';
              go(gridLink);
            }}
          >
            Grid
          </Button>
        )}
        {mayAll() && <Button onClick={() => askLabels(all)}>Labels</Button>}
        {may('admin') && (
          <>
            <Button disabled={active.length === 0} onClick={() => askStop(...active)}>
              Stop
            </Button>
            <Button onClick={() => restart(...all)}>Restart</Button>
            <Button kind="danger" onClick={() => askRemove(all, none)}>
              Delete
            </Button>
          </>
        )}
        <Tool icon="close" label="Choose none" onClick={none} />
      </div>
      {active.length > 0 && (
        <Composer
          agents={active}
          draft={DRAFT}
          onSent={(missed) => {
            // Another try is for those alone that the first did not reach.
            if (missed.length > 0) chosen.value = new Set(missed.map(({ id }) => id));
          }}
        />
      )}
    </section>
  );
}
