import { can } from '../live.ts';
import { parseFrame, terminalPath } from '../terminal/frame.ts';
import { api } from './api.ts';
import { Problem } from './problem.ts';
import type { Agent } from './wire.ts';

/** A key that can be pressed without looking at the terminal. */
export interface Press {
  label: string;
  name: string;
  /** What a terminal sends for it; where programs may choose the arrows' form, the other one as well. */
  bytes: string;
  application?: string;
  /** Where keys go as text alone: the text, and whether Enter follows. */
  text?: { text: string; submit: boolean };
}

export const PRESSES: Press[] = [
  { label: '⏎', name: 'Enter', bytes: '\r', text: { text: '', submit: true } },
  { label: 'Esc', name: 'Esc', bytes: '\x1b' },
  { label: 'y', name: 'y', bytes: 'y', text: { text: 'y', submit: false } },
  { label: 'n', name: 'n', bytes: 'n', text: { text: 'n', submit: false } },
  { label: '↑', name: 'Up', bytes: '\x1b[A', application: '\x1bOA' },
  { label: '↓', name: 'Down', bytes: '\x1b[B', application: '\x1bOB' },
  { label: '⇧Tab', name: 'Shift Tab', bytes: '\x1b[Z' },
  { label: '^C', name: 'Control C', bytes: '\x03' },
];

/** The keys that an agent's backend takes. */
export const presses = (agent: Agent): Press[] => (can(agent, 'interactive') ? PRESSES : PRESSES.filter(({ text }) => text));

/** Press a key in an agent's terminal. */
export async function press(agent: Agent, key: Press): Promise<void> {
  if (can(agent, 'interactive')) await type(agent.id, key);
  else if (key.text) await api.input(agent.id, key.text.text, key.text.submit);
}

const LONGEST_WAIT = 10_000;
/** In a snapshot, what asks for the arrows' other form. */
const APPLICATION = /\x1b\[\?(?:\d+;)*1(?:;\d+)*h/;

/** As a viewer that leaves again: it has no size of its own, so that nothing else changes. */
async function type(id: string, key: Press): Promise<void> {
  const path = terminalPath(id, '', await api.ticket(), 'rw', null);
  const socket = new WebSocket(new URL(path, location.href.replace(/^http/, 'ws')));
  socket.binaryType = 'arraybuffer';
  const late = setTimeout(() => socket.close(), LONGEST_WAIT);
  try {
    await new Promise<void>((resolve, reject) => {
      const send = (screen: string) => {
        socket.send(new TextEncoder().encode(key.application && APPLICATION.test(screen) ? key.application : key.bytes));
        resolve();
      };
      socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
        if (typeof data !== 'string') return send(new TextDecoder().decode(data));
        const frame = parseFrame(data);
        if (frame?.type === 'hello' && frame.mode !== 'rw') reject(new Problem(403, 'read-only', 'This terminal may only be watched.'));
        if (frame?.type === 'exit') reject(new Problem(409, 'exited', 'The program has ended.'));
        if (frame?.type === 'snapshot' && frame.bytes === 0) send('');
      };
      socket.onclose = () => reject(Problem.unreachable());
    });
  } finally {
    clearTimeout(late);
    socket.close(1000);
  }
}
