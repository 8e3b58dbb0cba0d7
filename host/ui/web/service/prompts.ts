import { signal } from '@preact/signals';
import { api } from './api.ts';
import { Problem } from './problem.ts';
import type { Agent } from './wire.ts';

const MOST = 100;

/** What is being written, by whom it is for. In memory alone: prompts may hold what is nobody else's. */
export const drafts = signal<ReadonlyMap<string, string>>(new Map());
const sent = new Map<string, string[]>();

export function writeDraft(to: string, text: string): void {
  drafts.value = new Map(drafts.value).set(to, text);
}

/** What was sent there before, the last one first. */
export const history = (to: string): readonly string[] => sent.get(to) ?? [];

export function forgetPrompts(): void {
  drafts.value = new Map();
  sent.clear();
}

function remember(to: string, text: string): void {
  sent.set(to, [text, ...history(to).filter((other) => other !== text)].slice(0, MOST));
}

/** Send a prompt to each of them, and remember it there and as sent by `draft`. Returns those that did not get it, and why. */
export async function prompt(agents: readonly Agent[], text: string, draft: string): Promise<{ agent: Agent; problem: Problem }[]> {
  const failed = await Promise.all(
    agents.map(async (agent) => {
      try {
        await api.input(agent.id, text);
        remember(agent.id, text);
        return [];
      } catch (error) {
        return [{ agent, problem: Problem.of(error) }];
      }
    }),
  );
  const missed = failed.flat();
  if (missed.length < agents.length) remember(draft, text);
  return missed;
}
