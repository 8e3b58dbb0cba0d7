import type { Agent, PastRun } from '../service/wire.ts';
import { exitText } from '../text/exit.ts';
import { moment } from '../text/time.ts';

interface Props {
  agent: Agent;
  /** The id of an earlier run; the newest one without. */
  chosen: string;
  onChoose(run: string): void;
}

/** Chooses one of the agent's runs, where there is more than one. */
export function RunChoice({ agent, chosen, onChoose }: Props) {
  const earlier = earlierRuns(agent);
  if (earlier.length === 0) return null;
  return (
    <label>
      <span class="sr">Run</span>
      <select value={chosen} onChange={(event) => onChoose(event.currentTarget.value)}>
        <option value="">Newest run</option>
        {earlier.map((past) => (
          <option key={past.id} value={past.id}>
            {moment(past.started_at)}, {exitText(past.exit)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The id of that run, or nothing where the agent has no such earlier run any more. */
export const earlierRun = (agent: Agent, run: string): string =>
  earlierRuns(agent).some((past) => past.id === run) ? run : '';

/** The runs before the one that the agent shows, newest first. */
const earlierRuns = (agent: Agent): PastRun[] =>
  (agent.history ?? []).filter((past) => past.started_at !== agent.session?.created_at).reverse();
