import { signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { directories, rememberDirectory } from '../prefs.ts';
import { agentLink, go } from '../router.ts';
import { agents, put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { type Complaints, fieldsOf } from '../service/options.ts';
import { Problem } from '../service/problem.ts';
import type { Agent, Backend, Keep } from '../service/wire.ts';
import { KEEPS } from '../text/keep.ts';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { type AgentDraft, agentOf, COMMAND, copyOf, emptyAgent, KINDS, optionsOf, typed, type Ways, WITH_MODEL, WITH_PROVIDER } from './draft.ts';
import { Field, Input } from './field.tsx';
import { OptionsForm } from './options.tsx';
import { PolicyFields } from './policy.tsx';
import { ProblemNote } from './problem.tsx';
import { Variables } from './variables.tsx';

const creating = signal(false);

/** Ask for a new agent: what was typed the last time, or one like another. */
export function askNew(like?: Agent): void {
  if (like) typed.value = copyOf(like, agents.value.map(({ name }) => name));
  creating.value = true;
}

/** The dialog for a new agent, while it is asked for. */
export function Creating() {
  return creating.value ? <CreateDialog onClose={() => (creating.value = false)} /> : null;
}

/** Makes an agent. */
function CreateDialog({ onClose }: { onClose(): void }) {
  const draft = typed.value;
  const [backends, setBackends] = useState<Backend[]>([]);
  const [complaints, setComplaints] = useState<Complaints>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const [loading, setLoading] = useState(true);
  const form = useRef<HTMLFormElement>(null);
  const closed = useRef(new AbortController());
  const change = (to: Partial<AgentDraft>) => (typed.value = { ...typed.value, ...to });

  const load = () =>
    api
      .backends()
      .then(setBackends, (error: unknown) => setProblem(Problem.of(error)))
      .finally(() => setLoading(false));
  useEffect(() => {
    void load();
    // The service undoes a start whose client leaves.
    return () => closed.current.abort();
  }, []);
  useLayoutEffect(() => form.current?.querySelector<HTMLElement>('[aria-invalid]')?.focus(), [complaints]);

  const backend = backends.find(({ backend_type, default: is }) => (draft.backend === '' ? is : backend_type === draft.backend));
  const ways = useMemo(() => waysOf(backend), [backend]);

  const create = async () => {
    const { agent, complaints: found } = agentOf(typed.value, ways);
    // Its options are not known, and no other one is meant.
    if (backend?.state !== 'ready') found.backend = backend?.reason ?? 'This service does not have it.';
    setComplaints(found);
    if (found.backend) void load();
    if (Object.keys(found).length > 0) return;
    const { signal: stopped } = closed.current;
    setBusy(true);
    setProblem(null);
    try {
      const created = await api.create(agent, stopped);
      // Closed in the moment of the answer: it is in the list, and the person stays where they are.
      if (stopped.aborted) return put(created);
      rememberDirectory(agent.working_dir);
      typed.value = emptyAgent();
      put(created);
      onClose();
      go(agentLink(created.id));
    } catch (error) {
      if (stopped.aborted) return;
      setProblem(Problem.of(error));
      setBusy(false);
    }
  };

  const optionComplaints = Object.fromEntries(
    Object.entries(complaints).flatMap(([path, text]) => (path.startsWith('options.') ? [[path.slice(8), text]] : [])),
  );
  const { kind } = draft;
  const { fields, onTerminals, recordsAll } = ways;
  return (
    <Dialog title="New agent" onClose={onClose} wide>
      <form
        ref={form}
        aria-busy={loading || busy}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <div class="dialog-body">
          <div class="columns">
            <Field label="Name" complaint={complaints.name} required>
              {(wiring) => <Input {...wiring} autofocus value={draft.name} onValue={(name) => change({ name })} />}
            </Field>
            <Field label="Runs">
              {(wiring) => (
                <select {...wiring} value={kind} onChange={(event) => change({ kind: event.currentTarget.value })}>
                  {KINDS.map(({ value, label }) => (
                    <option key={value} value={value}>
                      {label}
                    </option>
                  ))}
                  <option value={COMMAND}>A command…</option>
                </select>
              )}
            </Field>
          </div>
          {kind === COMMAND && (
            <Field label="Command" complaint={complaints.command} required help="A program and its arguments; quotes work, no shell reads it.">
              {(wiring) => <Input {...wiring} class="code" placeholder="python3 -m http.server 8000" value={draft.command} onValue={(command) => change({ command })} />}
            </Field>
          )}
          <Field label="Directory" complaint={complaints.directory} required>
            {(wiring) => (
              <Input {...wiring} class="code" placeholder="/home/you/project" list="directories" value={draft.directory} onValue={(directory) => change({ directory })} />
            )}
          </Field>
          {(backends.length > 1 || (backends.length > 0 && !backend)) && (
            <Field label="Backend" complaint={complaints.backend}>
              {(wiring) => (
                <select
                  {...wiring}
                  value={backend?.backend_type ?? draft.backend}
                  onChange={(event) => change({ backend: event.currentTarget.value, given: {}, options: null })}
                >
                  {backends.map(({ backend_type, state }) => (
                    <option key={backend_type} value={backend_type}>
                      {state === 'ready' ? backend_type : `${backend_type} (not there)`}
                    </option>
                  ))}
                  {!backend && <option value={draft.backend}>{draft.backend} (not there)</option>}
                </select>
              )}
            </Field>
          )}
          <Directories />
          {WITH_MODEL.includes(kind) && (
            <div class="columns">
              {WITH_PROVIDER.includes(kind) && (
                <Field label="Provider">
                  {(wiring) => <Input {...wiring} placeholder="its own default" value={draft.provider} onValue={(provider) => change({ provider })} />}
                </Field>
              )}
              <Field label="Model">{(wiring) => <Input {...wiring} placeholder="its own default" value={draft.model} onValue={(model) => change({ model })} />}</Field>
            </div>
          )}
          <Field label="Prompt" help="Typed into it, with Enter, once it reads keys.">
            {(wiring) => <textarea {...wiring} rows={3} value={draft.prompt} onInput={(event) => change({ prompt: event.currentTarget.value })} />}
          </Field>
          <Field label="Labels" complaint={complaints.labels} help="To find it by: `key=value`, with spaces between several.">
            {(wiring) => <Input {...wiring} class="code" placeholder="team=search urgent" value={draft.labels} onValue={(labels) => change({ labels })} />}
          </Field>
          <PolicyFields draft={draft.policy} complaint={complaints.max_restarts} onDraft={(policy) => change({ policy })} />
          {onTerminals && (
            <Field label="Much output while agentd is not running" help="Where agents outlive agentd, which keeps their output meanwhile.">
              {(wiring) => (
                <select {...wiring} value={draft.keep} onChange={(event) => change({ keep: event.currentTarget.value as Keep })}>
                  {(['block', 'drop'] as const).map((value) => (
                    <option key={value} value={value}>
                      {KEEPS[value]}
                    </option>
                  ))}
                </select>
              )}
            </Field>
          )}
          {onTerminals && (
            <label class="check">
              <input type="checkbox" checked={draft.record ?? recordsAll} onChange={(event) => change({ record: event.currentTarget.checked })} /> Record what its terminal shows
              {recordsAll && <span class="faint">as this service does with all</span>}
            </label>
          )}
          <Variables variables={draft.variables} onVariables={(variables) => change({ variables })} />
          {complaints.env && <p class="complaint">{complaints.env}</p>}
          {fields.length > 0 && (
            <details class="options" open={Object.keys(optionComplaints).length > 0}>
              <summary>Options of {backend?.backend_type ?? 'the backend'}</summary>
              <OptionsForm fields={fields} draft={optionsOf(draft, fields)} complaints={optionComplaints} onDraft={(options) => change({ options })} />
            </details>
          )}
          {problem && <ProblemNote problem={problem} />}
        </div>
        <div class="dialog-foot">
          <Button
            onClick={() => {
              typed.value = emptyAgent();
              onClose();
            }}
          >
            Cancel
          </Button>
          <Button kind="main" submit disabled={busy || backends.length === 0}>
            {busy ? 'Creating…' : 'Create'}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function waysOf(backend: Backend | undefined): Ways {
  const { on_terminals = false, records_all = false, options_schema = null } = backend ?? {};
  return {
    fields: fieldsOf(options_schema),
    onTerminals: on_terminals,
    recordsAll: records_all,
    ...(backend && !backend.default ? { backend: backend.backend_type } : {}),
  };
}

/** Where agents were started before, from here or by others. */
function Directories() {
  const used = agents.value.flatMap(({ session }) => (session ? [session.working_dir] : []));
  return (
    <datalist id="directories">
      {[...new Set([...directories.value, ...used])].slice(0, 30).map((path) => (
        <option key={path} value={path} />
      ))}
    </datalist>
  );
}
