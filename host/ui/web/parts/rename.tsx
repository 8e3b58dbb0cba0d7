import { useState } from 'preact/hooks';
import { put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { Button } from './button.tsx';
import { NAME, NAME_RULE } from './draft.ts';
import { Field, Input } from './field.tsx';

/** An agent's name, to be changed. */
export function NameEditor({ agent }: { agent: Agent }) {
  const [name, setName] = useState(agent.name);
  const [complaint, setComplaint] = useState<string | undefined>();
  const rename = async () => {
    setComplaint(undefined);
    if (!NAME.test(name)) return setComplaint(NAME_RULE);
    try {
      put(await api.edit(agent.id, { name }));
    } catch (error) {
      setComplaint(Problem.of(error).message);
    }
  };
  return (
    <form
      class="label-form"
      onSubmit={(event) => {
        event.preventDefault();
        void rename();
      }}
    >
      <Field label="Its name" complaint={complaint}>
        {(wiring) => <Input {...wiring} value={name} onValue={setName} />}
      </Field>
      <Button submit disabled={name === agent.name}>
        Rename
      </Button>
    </form>
  );
}
