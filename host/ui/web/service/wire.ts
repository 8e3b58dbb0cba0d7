// The service's types, as host/API.md describes them.

export type Capability = 'terminal' | 'interactive' | 'health-check' | 'logs' | 'attach-tmux';

export interface Info {
  backend_type: string;
  version: string;
  capabilities: string[];
}

export type Scope = 'read' | 'write' | 'admin';

/** What this browser was let in with. */
export interface Whoami {
  name: string;
  scope: Scope;
  /** The id of the one agent that it reaches. */
  agent?: string;
  /** The label of the agents that it reaches. */
  label?: string;
  expires_at?: string;
}

/** One of the service's, as `GET /backends` lists them. */
export interface Backend extends Info {
  /** Whether it has the agents that name none. */
  default: boolean;
  state: 'ready' | 'unavailable';
  /** Why it is not there. */
  reason?: string;
  /** Whether agents are programs on terminals of the service. */
  on_terminals?: boolean;
  /** Whether what terminals show is recorded unless an agent says otherwise. */
  records_all?: boolean;
  options_schema: Schema | null;
}

/** The part of JSON Schema that backends describe their options with. */
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  minimum?: number;
  maximum?: number;
  pattern?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  definitions?: Record<string, Schema>;
}

export interface Exit {
  code?: number | null;
  signal?: number | null;
  reason?: string | null;
}

/** What an agent does, by what its terminal says. */
export interface Activity {
  state: 'working' | 'waiting' | 'idle' | 'unknown';
  title?: string;
  since: string;
  reason?: string;
}

export type Health = 'healthy' | 'unhealthy' | 'starting' | 'unknown';

export interface Session {
  name: string;
  backend_type: string;
  /** Of that backend. Left out where there are none, or an earlier version kept the session. */
  capabilities?: string[];
  state: 'starting' | 'running' | 'exited' | 'unknown';
  health: Health;
  exit: Exit | null;
  pid?: number;
  /** What a starting session is busy with, or why its state is unknown. */
  progress?: string | null;
  working_dir: string;
  command: string[];
  /** Every value is `***`. */
  env?: Record<string, string>;
  options?: Record<string, unknown>;
  keep?: Keep;
  /** How its recording is, if there is one. */
  recording?: Recording;
  size: Size;
  viewers: number;
  activity?: Activity;
  created_at: string;
  attach_command?: string[];
}

export interface Recording {
  state: 'recording' | 'ended';
  /** Why it ended before its session did. */
  reason?: string;
}

/** What a program does while no service is there and too much of its output waits. */
export type Keep = 'block' | 'drop';

/** After which ends an agent is started again. */
export type RestartPolicy = 'never' | 'on-failure' | 'always';

export type Status = 'pending' | 'running' | 'stopped' | 'failed' | 'lost';

export interface Agent {
  id: string;
  name: string;
  status: Status;
  restarts: number;
  restart?: RestartPolicy;
  /** How often in a row at most. */
  max_restarts?: number;
  /** RFC 3339. */
  next_restart_at?: string;
  /** Why it is started again, or is not. */
  restart_reason?: string;
  created_at: string;
  labels?: Record<string, string>;
  /** What became of the prompt that it was created with. */
  prompt?: 'pending' | 'delivered' | 'failed';
  session: Session | null;
  /** Runs that have ended, oldest first. */
  history?: PastRun[];
}

export interface PastRun {
  id: string;
  started_at: string;
  ended_at: string;
  exit: Exit | null;
}

export interface AgentPage {
  items: Agent[];
  total: number;
  /** Where the next page begins, if there is one. */
  next_cursor?: string;
}

/** The body of `POST /agents`. */
export interface NewAgent {
  name: string;
  /** The default one unless given. */
  backend?: string;
  working_dir: string;
  agent?: string;
  command?: string[];
  provider?: string;
  model?: string;
  env?: Record<string, string>;
  options?: Record<string, unknown>;
  labels?: Record<string, string>;
  restart?: RestartPolicy;
  max_restarts?: number;
  keep?: Keep;
  /** What is typed into its program once that reads keys. */
  prompt?: string;
  record?: boolean;
}

/** The body of `PATCH /agents/{id}`: what is not named stays as it is. */
export interface AgentPatch {
  name?: string;
  /** A label that is null is removed. */
  labels?: Record<string, string | null>;
  restart?: RestartPolicy;
  /** Null is no bound. */
  max_restarts?: number | null;
}

/** What has changed in an agent's directory since the last commit there. */
export interface Diff {
  branch?: string;
  base?: string;
  text: string;
  truncated: boolean;
}

export interface LogLine {
  ts: string | null;
  stream: string | null;
  line: string;
}

export type Change =
  | { type: 'created' | 'started' | 'adopted' | 'exited' | 'restart_scheduled' | 'restarted' | 'edited' | 'recording_ended' | 'health' | 'progress'; agent: Agent }
  | { type: 'activity'; id: string; name: string; activity: Activity }
  | { type: 'deleted'; id: string; name: string };

/** What an agent's screen shows last; the event `output`. */
export interface Output {
  id: string;
  lines: string[];
}

export type Mode = 'rw' | 'ro';

export interface Size {
  cols: number;
  rows: number;
}

/** Text frames the service sends on the terminal WebSocket. */
export type ServerFrame =
  | ({ type: 'hello'; session: string; mode: Mode; epoch: string; seq: number } & Size)
  | { type: 'snapshot'; seq: number; bytes: number }
  | { type: 'lost'; from: number; to: number }
  | ({ type: 'resize' } & Size)
  | ({ type: 'exit' } & Exit)
  | { type: 'error'; code: string; detail: string };

/** Text frames the page sends. */
export type ClientFrame = ({ type: 'resize' } & Size) | { type: 'ack'; seq: number };

/** A line that was found, with those around it. */
export interface FoundLine {
  agent: string;
  name: string;
  /** The id of the run that wrote it. */
  session: string;
  /** Which line of that run's log it is; none of what was on a screen alone. */
  number?: number;
  line: string;
  before: string[];
  after: string[];
}

export interface SearchPage {
  items: FoundLine[];
  next_cursor?: string;
  incomplete?: boolean;
}
