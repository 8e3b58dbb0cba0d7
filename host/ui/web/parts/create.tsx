import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { info } from '../live.ts';
import { lastDirectory } from '../prefs.ts';
import { agentLink, go } from '../router.ts';
import { put } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { collect, type Complaints, type DraftGroup, emptyDraft, type Field as Option, fieldsOf } from '../service/options.ts';
import { Problem } from '../service/problem.ts';
import type { Keep, NewAgent } from '../service/wire.ts';
import { KEEPS } from '../text/keep.ts';
import { parseLabels } from '../text/labels.ts';
import { parseMax, type PolicyDraft } from '../text/policy.ts';
import { words } from '../text/words.ts';
import { Button } from './button.tsx';
import { Dialog } from './dialog.tsx';
import { Field, Input } from './field.tsx';
import { OptionsForm } from './options.tsx';
import { PolicyFields } from './policy.tsx';
import { ProblemNote } from './problem.tsx';
import { environment, type Variable, Variables } from './variables.tsx';

const KINDS = [
  { value: 'claude-code', label: 'Claude Code' },
  { value: 'codex', label: 'Codex' },
  { value: 'opencode', label: 'OpenCode' },
  { value: 'gemini', label: 'Gemini' },
  { value: 'crush', label: 'Crush' },
  { value: 'general', label: 'A shell' },
];
const COMMAND = 'command';
/** The kinds that take a model, and the one that takes a provider with it. */
const WITH_MODEL = ['claude-code', 'codex', 'opencode', 'gemini'];
const WITH_PROVIDER = ['opencode'];

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;

/** Makes an agent. */
export function CreateDialog({ onClose }: { onClose(): void }) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState('claude-code');
  const [command, setCommand] = useState('');
  const [directory, setDirectory] = useState(lastDirectory.value);
  const [provider, setProvider] = useState('');
  const [model, setModel] = useState('');
  const [labels, setLabels] = useState('');
  const [policy, setPolicy] = useState<PolicyDraft>({ restart: 'never', max: '' });
  const [onTerminals, setOnTerminals] = useState(false);
  const [keep, setKeep] = useState<Keep>('block');
  const [variables, setVariables] = useState<Variable[]>([]);
  const [fields, setFields] = useState<Option[]>([]);
  const [options, setOptions] = useState<DraftGroup>({});
  const [complaints, setComplaints] = useState<Complaints>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [creating, setCreating] = useState(false);
  const [loading, setLoading] = useState(true);
  const form = useRef<HTMLFormElement>(null);
  const closed = useRef(new AbortController());

  useEffect(() => {
    api
      .backend()
      .then(
        (backend) => {
          const made = fieldsOf(backend.options_schema);
          setOnTerminals(backend.on_terminals ?? false);
          setFields(made);
          setOptions(emptyDraft(made));
        },
        (error: unknown) => setProblem(Problem.of(error)),
      )
      .finally(() => setLoading(false));
    // The service undoes a start whose client leaves.
    return () => closed.current.abort();
  }, []);
  useLayoutEffect(() => form.current?.querySelector<HTMLElement>('[aria-invalid]')?.focus(), [complaints]);

  const check = (): NewAgent | null => {
    const found: Complaints = {};
    if (!NAME.test(name)) found.name = 'Letters, digits, - and _, at most 63, beginning with a letter or a digit.';
    if (!directory.startsWith('/')) found.directory = 'The whole path, beginning with /.';
    const argv = kind === COMMAND ? words(command) : null;
    if (kind === COMMAND && argv === null) found.command = 'A quote is not closed.';
    else if (argv?.length === 0) found.command = 'The program and its arguments.';
    const labelled = parseLabels(labels);
    if (labelled.complaint) found.labels = labelled.complaint;
    const bound = parseMax(policy.restart === 'never' ? '' : policy.max);
    if (bound.complaint) found.max_restarts = bound.complaint;
    const { env, complaint } = environment(variables);
    if (complaint) found.env = complaint;
    const collected = collect(fields, options);
    for (const [path, text] of Object.entries(collected.complaints)) found[`options.${path}`] = text;
    setComplaints(found);
    if (Object.keys(found).length > 0) return null;
    const agent: NewAgent = { name, working_dir: directory };
    if (argv) agent.command = argv;
    else agent.agent = kind;
    if (WITH_MODEL.includes(kind) && model.trim() !== '') agent.model = model.trim();
    if (WITH_PROVIDER.includes(kind) && provider.trim() !== '') agent.provider = provider.trim();
    if (Object.keys(labelled.labels).length > 0) agent.labels = labelled.labels;
    if (policy.restart !== 'never') agent.restart = policy.restart;
    if (bound.max !== null) agent.max_restarts = bound.max;
    if (onTerminals && keep !== 'block') agent.keep = keep;
    if (Object.keys(env).length > 0) agent.env = env;
    if (Object.keys(collected.options).length > 0) agent.options = collected.options;
    return agent;
  };

  const create = async () => {
    const agent = check();
    if (!agent) return;
    const { signal } = closed.current;
    setCreating(true);
    setProblem(null);
    try {
      const created = await api.create(agent, signal);
      lastDirectory.value = directory;
      put(created);
      onClose();
      go(agentLink(created.id));
    } catch (error) {
      if (signal.aborted) return;
      setProblem(Problem.of(error));
      setCreating(false);
    }
  };

  const optionComplaints = Object.fromEntries(
    Object.entries(complaints).flatMap(([path, text]) => (path.startsWith('options.') ? [[path.slice(8), text]] : [])),
  );
  return (
    <Dialog title="New agent" onClose={onClose} wide>
      <form
        ref={form}
        aria-busy={loading || creating}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <div class="dialog-body">
          <div class="columns">
            <Field label="Name" complaint={complaints.name} required>
              {(wiring) => <Input {...wiring} autofocus value={name} onValue={setName} />}
            </Field>
            <Field label="Runs">
              {(wiring) => (
                <select {...wiring} value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
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
              {(wiring) => <Input {...wiring} class="code" placeholder="python3 -m http.server 8000" value={command} onValue={setCommand} />}
            </Field>
          )}
          <Field label="Directory" complaint={complaints.directory} required>
            {(wiring) => <Input {...wiring} class="code" placeholder="/home/you/project" value={directory} onValue={setDirectory} />}
          </Field>
          {WITH_MODEL.includes(kind) && (
            <div class="columns">
              {WITH_PROVIDER.includes(kind) && (
                <Field label="Provider">{(wiring) => <Input {...wiring} placeholder="its own default" value={provider} onValue={setProvider} />}</Field>
              )}
              <Field label="Model">{(wiring) => <Input {...wiring} placeholder="its own default" value={model} onValue={setModel} />}</Field>
            </div>
          )}
          <Field label="Labels" complaint={complaints.labels} help="To find it by: `key=value`, with spaces between several.">
            {(wiring) => <Input {...wiring} class="code" placeholder="team=search urgent" value={labels} onValue={setLabels} />}
          </Field>
          <PolicyFields draft={policy} complaint={complaints.max_restarts} onDraft={setPolicy} />
          {onTerminals && (
            <Field label="Much output while agentd is not running" help="Where agents outlive agentd, which keeps their output meanwhile.">
              {(wiring) => (
                <select {...wiring} value={keep} onChange={(event) => setKeep(event.currentTarget.value as Keep)}>
                  {(['block', 'drop'] as const).map((value) => (
                    <option key={value} value={value}>
                      {KEEPS[value]}
                    </option>
                  ))}
                </select>
              )}
            </Field>
          )}
          <Variables variables={variables} onVariables={setVariables} />
          {complaints.env && <p class="complaint">{complaints.env}</p>}
          {fields.length > 0 && (
            <details class="options" open={Object.keys(optionComplaints).length > 0}>
              <summary>Options of {info.value?.backend_type ?? 'the backend'}</summary>
              <OptionsForm fields={fields} draft={options} complaints={optionComplaints} onDraft={setOptions} />
            </details>
          )}
          {problem && <ProblemNote problem={problem} />}
        </div>
        <div class="dialog-foot">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="main" submit disabled={creating}>
            {creating ? 'Creating…' : 'Create'}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
