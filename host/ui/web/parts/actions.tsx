import { signal } from '@preact/signals';
import { may } from '../live.ts';
import { api } from '../service/api.ts';
import { Problem } from '../service/problem.ts';
import type { Agent } from '../service/wire.ts';
import { Tool } from './button.tsx';
import { Confirm, type Question } from './confirm.tsx';
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

export function askStop(agent: Agent): void {
  asked.value = {
    title: `Stop ${agent.name}?`,
    text: 'Its process and everything it started are ended. The agent stays in the list and can be restarted.',
    yes: 'Stop',
    act: () => api.stop(agent.id),
  };
}

export function askRemove(agent: Agent, after?: () => void): void {
  const remove = async (force: boolean) => {
    await api.remove(agent.id, force);
    say(`${agent.name} is deleted.`);
    after?.();
  };
  asked.value = {
    title: `Delete ${agent.name}?`,
    text: isActive(agent)
      ? 'It is still running: everything it started is ended, and the agent and its output are forgotten.'
      : 'The agent and its output are forgotten.',
    yes: 'Delete',
    act: () => remove(false),
    anyway: {
      text: 'It may run where the service cannot reach it. If it is seen again, it is ended then.',
      yes: 'Delete anyway',
      act: () => remove(true),
    },
  };
}

export function restart(agent: Agent): void {
  if (isActive(agent)) {
    asked.value = {
      title: `Restart ${agent.name}?`,
      text: 'Its process and everything it started are ended, then it starts anew.',
      yes: 'Restart',
      act: () => api.restart(agent.id),
    };
    return;
  }
  api.restart(agent.id).catch((error: unknown) => say(Problem.of(error).message, { bad: true }));
}

/** What can be done with an agent, as buttons. */
export function AgentActions({ agent, onRemoved }: { agent: Agent; onRemoved?: () => void }) {
  if (!may('admin')) return null;
  return (
    <div class="actions">
      <Tool icon="stop" label={`Stop ${agent.name}`} disabled={!isActive(agent)} onClick={() => askStop(agent)} />
      <Tool icon="restart" label={`Restart ${agent.name}`} onClick={() => restart(agent)} />
      <Tool icon="trash" label={`Delete ${agent.name}`} onClick={() => askRemove(agent, onRemoved)} />
    </div>
  );
}
