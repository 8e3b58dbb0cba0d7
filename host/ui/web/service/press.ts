import { can } from '../live.ts';
import type { Agent } from './wire.ts';

/** A key that can be pressed without looking at the terminal. */
export interface Press {
  label: string;
  name: string;
  /** As the service calls it. */
  key: string;
  /** Only a keyboard has it: it is not text that can be sent. */
  keyboard?: true;
}

const PRESSES: Press[] = [
  { label: '⏎', name: 'Enter', key: 'enter' },
  { label: 'Esc', name: 'Esc', key: 'escape', keyboard: true },
  { label: 'y', name: 'y', key: 'y' },
  { label: 'n', name: 'n', key: 'n' },
  { label: '↑', name: 'Up', key: 'up', keyboard: true },
  { label: '↓', name: 'Down', key: 'down', keyboard: true },
  { label: '⇧Tab', name: 'Shift Tab', key: 'shift-tab', keyboard: true },
  { label: '^C', name: 'Control C', key: 'ctrl-c', keyboard: true },
];

/** The keys that an agent's backend takes. */
export const presses = (agent: Agent): Press[] =>
  can(agent, 'interactive') || can(agent, 'attach-tmux') ? PRESSES : PRESSES.filter(({ keyboard }) => !keyboard);
