import { signal } from '@preact/signals';
import { directories } from '../prefs.ts';
import { collect, type Complaints, type DraftGroup, draftOf as draftOfOptions, type Field } from '../service/options.ts';
import type { Agent, Keep, NewAgent } from '../service/wire.ts';
import { kindOf } from '../text/kind.ts';
import { labelsLine, parseLabels } from '../text/labels.ts';
import { parseMax, type PolicyDraft, policyDraft } from '../text/policy.ts';
import { line, words } from '../text/words.ts';
import { environment, type Variable } from './variables.tsx';

export const KINDS = [
  { value: 'claude-code', label: 'Claude Code' },
  { value: 'codex', label: 'Codex' },
  { value: 'opencode', label: 'OpenCode' },
  { value: 'gemini', label: 'Gemini' },
  { value: 'crush', label: 'Crush' },
  { value: 'general', label: 'A shell' },
];
export const COMMAND = 'command';
/** The kinds that take a model, and the one that takes a provider with it. */
export const WITH_MODEL = ['claude-code', 'codex', 'opencode', 'gemini'];
export const WITH_PROVIDER = ['opencode'];

export const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
export const NAME_RULE = 'Letters, digits, - and _, at most 63, beginning with a letter or a digit.';

/** An agent to be made, as it is typed. */
export interface AgentDraft {
  name: string;
  /** The default one where it is empty. */
  backend: string;
  kind: string;
  command: string;
  directory: string;
  provider: string;
  model: string;
  prompt: string;
  labels: string;
  policy: PolicyDraft;
  keep: Keep;
  /** As the service does it where nobody has said. */
  record: boolean | null;
  variables: Variable[];
  /** What the backend's form begins with. */
  given: Record<string, unknown>;
  /** What is in that form; null before it is known. */
  options: DraftGroup | null;
}

export const emptyAgent = (): AgentDraft => ({
  name: '',
  backend: '',
  kind: 'claude-code',
  command: '',
  directory: directories.value[0] ?? '',
  provider: '',
  model: '',
  prompt: '',
  labels: '',
  policy: { restart: 'never', max: '' },
  keep: 'block',
  record: null,
  variables: [],
  given: {},
  options: null,
});

/** What is being typed. It outlives the dialog, until an agent is made of it: a sign-in may end, or a key be hit by mistake. */
export const typed = signal<AgentDraft>(emptyAgent());

/** Another one like it. Of its variables only the names are known. */
export function copyOf(agent: Agent, names: Iterable<string>): AgentDraft {
  const draft = { ...emptyAgent(), name: freeName(agent.name, new Set(names)), labels: labelsLine(agent.labels), policy: policyDraft(agent) };
  const { session } = agent;
  if (!session) return draft;
  const bare = session.command.length === 1 && KINDS.find(({ label }) => label === kindOf(agent));
  return {
    ...draft,
    ...(bare ? { kind: bare.value } : { kind: COMMAND, command: line(session.command) }),
    backend: session.backend_type,
    directory: session.working_dir,
    keep: session.keep ?? 'block',
    record: session.recording ? true : null,
    variables: Object.keys(session.env ?? {}).map((name) => ({ name, value: '' })),
    given: session.options ?? {},
  };
}

/** `name-2`, or the next number that nobody has. */
export function freeName(name: string, taken: ReadonlySet<string>): string {
  const stem = name.replace(/-\d+$/, '').slice(0, 58);
  let number = 2;
  while (taken.has(`${stem}-${number}`)) number += 1;
  return `${stem}-${number}`;
}

export const optionsOf = (draft: AgentDraft, fields: Field[]): DraftGroup => draft.options ?? draftOfOptions(fields, draft.given);

/** What the form has to know of the backend. */
export interface Ways {
  /** Its name, unless it is the default one. */
  backend?: string;
  fields: Field[];
  /** Whether agents run on terminals of the service. */
  onTerminals: boolean;
  /** Whether it records all that say nothing of it. */
  recordsAll: boolean;
}

/** The agent as the service takes it, or what is wrong with the draft. */
export function agentOf(draft: AgentDraft, { backend, fields, onTerminals, recordsAll }: Ways): { agent: NewAgent; complaints: Complaints } {
  const { name, kind, directory, provider, model, policy, keep } = draft;
  const found: Complaints = {};
  if (!NAME.test(name)) found.name = NAME_RULE;
  if (!directory.startsWith('/')) found.directory = 'The whole path, beginning with /.';
  const argv = kind === COMMAND ? words(draft.command) : null;
  if (kind === COMMAND && argv === null) found.command = 'A quote is not closed.';
  else if (argv?.length === 0) found.command = 'The program and its arguments.';
  const labelled = parseLabels(draft.labels);
  if (labelled.complaint) found.labels = labelled.complaint;
  const bound = parseMax(policy.restart === 'never' ? '' : policy.max);
  if (bound.complaint) found.max_restarts = bound.complaint;
  const { env, complaint } = environment(draft.variables);
  if (complaint) found.env = complaint;
  const collected = collect(fields, optionsOf(draft, fields));
  for (const [path, text] of Object.entries(collected.complaints)) found[`options.${path}`] = text;
  const agent: NewAgent = { name, working_dir: directory };
  if (backend !== undefined) agent.backend = backend;
  if (argv) agent.command = argv;
  else agent.agent = kind;
  if (WITH_MODEL.includes(kind) && model.trim() !== '') agent.model = model.trim();
  if (WITH_PROVIDER.includes(kind) && provider.trim() !== '') agent.provider = provider.trim();
  if (draft.prompt.trim() !== '') agent.prompt = draft.prompt;
  if (Object.keys(labelled.labels).length > 0) agent.labels = labelled.labels;
  if (policy.restart !== 'never') agent.restart = policy.restart;
  if (bound.max !== null) agent.max_restarts = bound.max;
  if (onTerminals && keep !== 'block') agent.keep = keep;
  if (onTerminals && draft.record !== null && draft.record !== recordsAll) agent.record = draft.record;
  if (Object.keys(env).length > 0) agent.env = env;
  if (Object.keys(collected.options).length > 0) agent.options = collected.options;
  return { agent, complaints: found };
}
