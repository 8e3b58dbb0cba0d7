import { signal } from '@preact/signals';
import { may, mayAll } from '../live.ts';
import { agentById } from '../service/agents.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { Tool } from './button.tsx';
import { Confirm, type Question } from './confirm.tsx';
import { askNew } from './create.tsx';
import { say } from './toast.tsx';

const asked = signal<Question | null>(null);

/** The question that waits for an answer, over whatever page is open. */
export function Asked() {
  const question = asked.value;
  if (!question) return null;
  return (
    <Confirm
      question={question}
      onClose={() => {
        asked.value = null;
      }}
    />
  );
}

export const isActive = (agent: Agent): boolean => agent.status === 'running' || agent.status === 'pending';

/** What several are called in a question. */
export const named = (agents: Agent[]): string => (agents.length === 1 && agents[0] ? agents[0].name : `${agents.length} agents`);

/** One after the other has its turn; who failed is named, and the others are done all the same. */
export async function each(agents: Agent[], act: (agent: Agent) => Promise<unknown>): Promise<void> {
  const failed: [Agent, Problem][] = [];
  for (const agent of agents) await act(agent).catch((error: unknown) => failed.push([agent, Problem.of(error)]));
  const [first] = failed;
  if (!first) return;
  const [agent, problem] = first;
  if (agents.length === 1) throw problem;
  const others = failed.length > 1 ? ` It was the same or similar with ${failed.length - 1} more.` : '';
  throw new Problem(problem.status, problem.code, `${agent.name}: ${problem.message}${others}`, problem.hint);
}

export function askStop(...agents: Agent[]): void {
  asked.value = {
    title: `Stop ${named(agents)}?`,
    text:
      agents.length === 1
        ? 'Its process and everything it started are ended. The agent stays in the list and can be restarted.'
        : 'Their processes and everything these started are ended. The agents stay in the list and can be restarted.',
    yes: 'Stop',
    act: () => each(agents, ({ id }) => api.stop(id)),
  };
}

export function askRemove(agents: Agent[], after?: () => void): void {
  const remove = async (force: boolean) => {
    // Those that a first try has deleted already are not there any more.
    await each(agents.filter(({ id }) => agentById(id)), ({ id }) => api.remove(id, force));
    say(agents.length === 1 ? `${named(agents)} is deleted.` : `${named(agents)} are deleted.`);
    after?.();
  };
  const [whose, run] = agents.length === 1 ? ['The agent and its output', 'It is'] : ['The agents and their output', 'Some are'];
  asked.value = {
    title: `Delete ${named(agents)}?`,
    text: agents.some(isActive) ? `${run} still running: everything that was started is ended. ${whose} are forgotten.` : `${whose} are forgotten.`,
    yes: 'Delete',
    act: () => remove(false),
    anyway: {
      text: 'What runs where the service cannot reach it is ended when it is seen again.',
      yes: 'Delete anyway',
      act: () => remove(true),
    },
  };
}

export function restart(...agents: Agent[]): void {
  const act = () => each(agents, ({ id }) => api.restart(id));
  if (agents.some(isActive)) {
    asked.value = {
      title: `Restart ${named(agents)}?`,
      text: agents.length === 1 ? 'Its process and everything it started are ended, then it starts anew.' : 'What runs is ended, then each starts anew.',
      yes: 'Restart',
      act,
    };
    return;
  }
  act().catch((error: unknown) => say(Problem.of(error).message, { bad: true }));
}

/** What can be done with an agent, as buttons. */
export function AgentActions({ agent, onRemoved }: { agent: Agent; onRemoved?: () => void }) {
  if (!may('admin')) return null;
  return (
    <div class="actions">
      <Tool icon="stop" label={`Stop ${agent.name}`} disabled={!isActive(agent)} onClick={() => askStop(agent)} />
      <Tool icon="restart" label={`Restart ${agent.name}`} onClick={() => restart(agent)} />
      {mayAll() && <Tool icon="duplicate" label={`Duplicate ${agent.name}`} onClick={() => askNew(agent)} />}
      <Tool icon="trash" label={`Delete ${agent.name}`} onClick={() => askRemove([agent], onRemoved)} />
    </div>
  );
}
