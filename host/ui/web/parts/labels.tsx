import { useState } from 'preact/hooks';
import { put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { labelText, parseLabels } from '../text/labels.ts';
import { Button, Tool } from './button.tsx';
import { Field, Input } from './field.tsx';

interface Props {
  agent: Agent;
  /** A label was chosen, as it is shown. */
  onChoose?(label: string): void;
}

/** An agent's labels, in a line or a few. */
export function Labels({ agent, onChoose }: Props) {
  const labels = Object.entries(agent.labels ?? {});
  if (labels.length === 0) return null;
  return (
    <ul class="labels" aria-label={`Labels of ${agent.name}`}>
      {labels.map(([key, value]) => (
        <li key={key} title={labelText(key, value)}>
          {onChoose ? (
            <button type="button" aria-label={`Only with ${labelText(key, value)}`} onClick={() => onChoose(labelText(key, value))}>
              {labelText(key, value)}
            </button>
          ) : (
            labelText(key, value)
          )}
        </li>
      ))}
    </ul>
  );
}

/** An agent's labels, to be added and removed. */
export function LabelEditor({ agent }: { agent: Agent }) {
  const [text, setText] = useState('');
  const [complaint, setComplaint] = useState<string | undefined>();
  const labels = Object.entries(agent.labels ?? {});

  const edit = async (changes: Record<string, string | null>): Promise<void> => {
    setComplaint(undefined);
    try {
      put(await api.edit(agent.id, { labels: changes }));
      setText('');
    } catch (error) {
      setComplaint(Problem.of(error).message);
    }
  };

  return (
    <>
      {labels.length > 0 && (
        <ul class="labels" aria-label={`Labels of ${agent.name}`}>
          {labels.map(([key, value]) => (
            <li key={key}>
              <span>{labelText(key, value)}</span>
              <Tool icon="close" label={`Remove the label ${key}`} onClick={() => void edit({ [key]: null })} />
            </li>
          ))}
        </ul>
      )}
      <form
        class="label-form"
        onSubmit={(event) => {
          event.preventDefault();
          const { labels: added, complaint: wrong } = parseLabels(text);
          setComplaint(wrong ?? undefined);
          if (wrong === null && Object.keys(added).length > 0) void edit(added);
        }}
      >
        <Field label="Add labels" complaint={complaint}>
          {(wiring) => <Input {...wiring} class="code" placeholder="key=value" value={text} onValue={setText} />}
        </Field>
        <Button submit>Add</Button>
      </form>
    </>
  );
}
