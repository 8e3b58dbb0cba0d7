import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { labelText, parseLabels } from '../text/labels.ts';
import { each, named } from './actions.tsx';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { Field, Input } from './field.tsx';
import { ProblemNote } from './problem.tsx';

const asked = signal<Agent[]>([]);

/** Ask which labels these agents are to get or lose. */
export function askLabels(agents: Agent[]): void {
  asked.value = agents;
}

/** The dialog for it, while it is asked for. */
export function Labelling() {
  const agents = asked.value;
  return agents.length > 0 ? <LabelDialog agents={agents} onClose={() => (asked.value = [])} /> : null;
}

function LabelDialog({ agents, onClose }: { agents: Agent[]; onClose(): void }) {
  const [text, setText] = useState('');
  const [gone, setGone] = useState<ReadonlySet<string>>(new Set());
  const [complaint, setComplaint] = useState<string | undefined>();
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const had = new Map(agents.flatMap(({ labels = {} }) => Object.entries(labels)).map(([key, value]) => [labelText(key, value), key]));

  const save = async () => {
    const { labels: added, complaint: wrong } = parseLabels(text);
    setComplaint(wrong ?? undefined);
    if (wrong !== null) return;
    setBusy(true);
    setProblem(null);
    try {
      await each(agents, async (agent) => {
        const lost = Object.entries(agent.labels ?? {}).filter(([key, value]) => gone.has(labelText(key, value)) && !(key in added));
        put(await api.edit(agent.id, { labels: { ...Object.fromEntries(lost.map(([key]) => [key, null])), ...added } }));
      });
      onClose();
    } catch (error) {
      setProblem(Problem.of(error));
      setBusy(false);
    }
  };

  return (
    <Dialog title={`Labels of ${named(agents)}`} onClose={onClose}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <Field label="Add labels" complaint={complaint} help="`key=value`, with spaces between several.">
          {(wiring) => <Input {...wiring} autofocus class="code" placeholder="team=search urgent" value={text} onValue={setText} />}
        </Field>
        {had.size > 0 && (
          <fieldset class="had">
            <legend>Keep</legend>
            {[...had.keys()].sort().map((label) => (
              <label key={label} class="check">
                <input
                  type="checkbox"
                  checked={!gone.has(label)}
                  onChange={(event) => {
                    const next = new Set(gone);
                    if (event.currentTarget.checked) next.delete(label);
                    else next.add(label);
                    setGone(next);
                  }}
                />
                {label}
              </label>
            ))}
          </fieldset>
        )}
        {problem && <ProblemNote problem={problem} />}
        <div class="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="main" submit disabled={busy || (text.trim() === '' && gone.size === 0)}>
            Save
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
