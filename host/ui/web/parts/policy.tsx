import { useState } from 'preact/hooks';
import { put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent, RestartPolicy } from '../service/wire.ts';
import { parseMax, POLICIES, type PolicyDraft, policyDraft } from '../text/policy.ts';
import { Button } from './button.tsx';
import { Field, Input } from './field.tsx';

interface Props {
  draft: PolicyDraft;
  complaint: string | undefined;
  onDraft(draft: PolicyDraft): void;
}

/** After which ends an agent is started again, and how often in a row. */
export function PolicyFields({ draft, complaint, onDraft }: Props) {
  return (
    <div class="columns">
      <Field label="Start again">
        {(wiring) => (
          <select
            {...wiring}
            value={draft.restart}
            onChange={(event) => onDraft({ ...draft, restart: event.currentTarget.value as RestartPolicy })}
          >
            {POLICIES.map(({ value, label }) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        )}
      </Field>
      {draft.restart !== 'never' && (
        <Field label="In a row at most" complaint={complaint}>
          {(wiring) => (
            <Input {...wiring} inputMode="numeric" placeholder="no bound" value={draft.max} onValue={(max) => onDraft({ ...draft, max })} />
          )}
        </Field>
      )}
    </div>
  );
}

/** An agent's policy, to be changed. */
export function PolicyEditor({ agent }: { agent: Agent }) {
  const policy = policyDraft(agent);
  // When somebody else changes it, that is shown.
  return <PolicyForm key={`${policy.restart} ${policy.max}`} id={agent.id} policy={policy} />;
}

function PolicyForm({ id, policy }: { id: string; policy: PolicyDraft }) {
  const [draft, setDraft] = useState(policy);
  const [complaint, setComplaint] = useState<string | undefined>();
  const [failure, setFailure] = useState<string | undefined>();
  const edited = draft.restart !== policy.restart || draft.max.trim() !== policy.max;

  const save = async (): Promise<void> => {
    const { max, complaint: wrong } = parseMax(draft.max);
    setComplaint(wrong ?? undefined);
    setFailure(undefined);
    if (wrong !== null) return;
    try {
      put(await api.edit(id, { restart: draft.restart, max_restarts: max }));
    } catch (error) {
      setFailure(Problem.of(error).message);
    }
  };

  return (
    <form
      class="policy-form"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <PolicyFields draft={draft} complaint={complaint} onDraft={setDraft} />
      {failure && <p class="complaint">{failure}</p>}
      {edited && <Button submit>Save</Button>}
    </form>
  );
}
